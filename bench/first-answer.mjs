/**
 * The first answer of wasmith/ort from a warm cache beside onnxruntime-web's, each in processes of their own that take turns: medians of
 * importing, creating a session, running it once.
 *
 *     node bench/first-answer.mjs ROUNDS FOLDER…
 *
 * A folder holds model.onnx and io.safetensors. What is kept is made by a run before the first round.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const [rounds, ...folders] = process.argv.slice(2);
const child = fileURLToPath(new URL("./peers/first-answer.mjs", import.meta.url));
const cache = fileURLToPath(new URL("../node_modules/.cache/wasmith/first-answer", import.meta.url));
mkdirSync(cache, { recursive: true });
const run = (engine, folder) => {
  const cases = ["io.safetensors", "cases.safetensors"].map((f) => join(folder, f)).find(existsSync);
  const args = [child, engine, join(folder, "model.onnx"), cases, cache];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" }));
};
const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

for (const folder of folders) {
  run("wasmith", folder);
  if (rounds === "0") continue;
  const all = { wasmith: [], "onnxruntime-web": [] };
  for (let i = 0; i < Number(rounds); i++) for (const engine of Object.keys(all)) all[engine].push(run(engine, folder));
  const medians = Object.entries(all).map(([engine, times]) => {
    const of = (part) => median(times.map((t) => t[part]));
    return { engine, import: of("import"), create: of("create"), run: of("run"), all: of("all") };
  });
  for (const { engine, ...ms } of medians)
    console.log(
      basename(folder).padEnd(18),
      engine.padEnd(16),
      Object.entries(ms)
        .map(([part, t]) => `${part} ${t.toFixed(1)}`)
        .join("  "),
    );
  console.log(basename(folder).padEnd(18), "ratio", (medians[1].all / medians[0].all).toFixed(2));
}
