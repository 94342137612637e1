/** The systems of models/, killed and resumed: nothing that was saved is lost, and the end has the bits of a run that went through. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { serialize } from "node:v8";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ownPlaces } from "../../compiler/cli/load-model.js";
import { compile } from "../../index.js";
import { workerFile } from "../setup/build-worker.js";
import { type ModelName, modelNames, small } from "./small.js";

/** After how many further batches each run is killed. */
const kills = [3, 5, 4];

const root = fileURLToPath(new URL("../..", import.meta.url));
const child = fileURLToPath(new URL(`resume-${process.pid}.mjs`, workerFile));
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "wasmith-resume-"));
  await build({
    entryPoints: [fileURLToPath(new URL("resume-child.ts", import.meta.url))],
    outfile: child,
    bundle: true,
    format: "esm",
    platform: "node",
    external: ["binaryen", "cli-progress"],
    alias: {
      wasmith: join(root, "index.ts"),
      "wasmith/runtime": join(root, "runtime/index.ts"),
      "wasmith/data": join(root, "runtime/data/index.ts"),
    },
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    // Models read their data from where their files are; the runtime's own files lie beside the bundle.
    plugins: [ownPlaces(/[\\/]models[\\/].*\.ts$/)],
    logLevel: "error",
  });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  rmSync(child, { force: true });
});

const start = (name: ModelName, checkpoint: string): ChildProcess =>
  spawn(process.execPath, [child, name, join(folder, name), checkpoint], {
    stdio: ["ignore", "pipe", "inherit"],
  });
const ended = (process: ChildProcess): Promise<number | null> => new Promise((done) => process.on("close", done));

/** Batches that a run says it has saved, until the process ends or enough are heard. */
function heard(process: ChildProcess, enough: number): Promise<number> {
  return new Promise((done) => {
    let count = 0;
    const reader = createInterface({ input: process.stdout! });
    reader.on("line", () => {
      if (++count === enough) done(count);
    });
    reader.on("close", () => done(count));
  });
}

describe.each(modelNames)("models/%s", (name) => {
  it("killed and resumed ends in the bits of a run that went through", { timeout: 300_000 }, async () => {
    const { program } = await small(name);
    const { manifest, wasm, weights } = (await compile(program, { variants: ["simd128"] })) as never as Record<
      string,
      unknown
    >;
    writeFileSync(join(folder, name), serialize({ manifest, wasm, weights }));
    const [whole, killed] = ["whole", "killed"].map((run) => join(folder, `${name}.${run}.safetensors`)) as [
      string,
      string,
    ];
    const reference = start(name, whole);
    const done = ended(reference);
    const batches = await heard(reference, Number.POSITIVE_INFINITY);
    expect(await done).toBe(0);
    expect(batches).toBeGreaterThan(kills.reduce((a, b) => a + b) + 2);
    let saved = 0;
    for (const count of kills) {
      const run = start(name, killed);
      const end = ended(run);
      saved += await heard(run, count);
      run.kill("SIGKILL");
      expect(await end).toBe(null);
      expect(existsSync(killed)).toBe(true);
    }
    const last = start(name, killed);
    const end = ended(last);
    const rest = await heard(last, Number.POSITIVE_INFINITY);
    expect(await end).toBe(0);
    // What was not said before a kill is at most one batch of each run.
    expect(rest).toBeLessThanOrEqual(batches - saved);
    expect(rest).toBeGreaterThanOrEqual(batches - saved - 2 * kills.length);
    expect(readFileSync(killed).equals(readFileSync(whole))).toBe(true);
    expect(readdirSync(folder).filter((f) => f.endsWith(".tmp"))).toEqual([]);
  });
});
