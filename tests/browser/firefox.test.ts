/** The runtime in Firefox: what it gives there, alone and with threads, is what it gives here. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { load, type Session, type TrainingSession } from "../../runtime/index.js";
import { mixed, mixedFeeds, training } from "../hosts/models.js";
import { firefox, reportOf } from "./reporting.js";

const obstacle = !existsSync("/usr/bin/firefox")
  ? "/usr/bin/firefox is not installed"
  : !existsSync(fileURLToPath(new URL("../../dist/runtime.js", import.meta.url)))
    ? "dist/runtime.js is not built (npm run build)"
    : null;
if (obstacle) console.warn(`Firefox is not tested: ${obstacle}`);

interface Found {
  readonly runs: readonly (readonly [
    variant: string,
    threads: number,
    results: Readonly<Record<string, readonly number[]>>,
  ])[];
  readonly refusal: string;
  readonly losses: readonly number[];
}

/** What both run; `load`, `mixedFeeds` and `bytes` are given. */
const script = (feeds: string): string => `
import { load } from "/dist/runtime.js";
${feeds}
const bytes = (results) => Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]]));
const runs = [];
let refusal;
for (const options of [{}, { threads: 2 }, { threads: 2, background: true }]) {
  const session = await load("/mixed.wasm", { deterministic: true, ...options });
  runs.push([session.report.variant, session.report.threads, bytes(await session.run(feeds))]);
  refusal = await session.run({ ...feeds, x: new Float64Array(3) }).catch((error) => error.message);
  session.dispose();
}
const training = await load("/training.wasm", { deterministic: true });
const losses = [];
for (let i = 0; i < 3; i++) losses.push((await training.step(batch)).loss);
const saved = await training.save();
await training.restore(saved);
losses.push((await training.step(batch)).loss);
export default { runs, refusal, losses };
`;

const asCode = (value: unknown): string =>
  ArrayBuffer.isView(value)
    ? `${value.constructor.name}.of(${Array.from(value as Float32Array, (x: number | bigint) => (typeof x === "bigint" ? `${x}n` : Object.is(x, -0) ? "-0" : String(x)))})`
    : Array.isArray(value) || typeof value !== "object"
      ? JSON.stringify(value)
      : `{${Object.entries(value as object).map(([k, v]) => `${JSON.stringify(k)}:${asCode(v)}`)}}`;

describe.skipIf(obstacle)("Firefox", () => {
  it("gives the bits that Node gives, alone, with threads and in the background, and trains", async () => {
    const folder = mkdtempSync(join(tmpdir(), "wasmith-firefox-"));
    try {
      await (await compile(mixed(), { deterministic: true })).write(folder);
      await (await compile(training(), { deterministic: true, name: "training" })).write(folder);
      const feeds = mixedFeeds(500);
      const batch = { x: feeds.x!.data.slice(0, 12), y: BigInt64Array.of(0n, 1n, 2n) };
      const files = new Map(
        readdirSync(folder).map((name) => [`/${name}`, readFileSync(join(folder, name)) as Uint8Array]),
      );
      const text = script(`const feeds = ${asCode(feeds)};\nconst batch = ${asCode(batch)};`);
      const found = await reportOf<Found>(firefox, text, files);
      const session: Session = await load(join(folder, "mixed.wasm"), { deterministic: true });
      const results = Object.entries(await session.run(feeds));
      const want = Object.fromEntries(
        results.map(([name, { data }]) => [name, [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]]),
      );
      const refusal = await session.run({ ...feeds, x: new Float64Array(3) as never }).catch((error) => error.message);
      session.dispose();
      expect(found.runs.map(([variant, threads]) => [variant, threads])).toEqual([
        ["simd128", 1],
        ["simd128-threads", 2],
        ["simd128-threads", 2],
      ]);
      for (const [, , got] of found.runs) expect(got).toEqual(want);
      expect(found.refusal).toBe(refusal);
      const trained = await load<TrainingSession>(join(folder, "training.wasm"), { deterministic: true });
      const losses = [];
      for (let i = 0; i < 4; i++) losses.push((await trained.step(batch)).loss);
      trained.dispose();
      expect(found.losses).toEqual(losses);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
