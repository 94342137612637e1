import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { describe, expect, it } from "vitest";
import type { VariantId } from "../../runtime/index.js";
import { dataFolder, hasData } from "../nn/reference-data.js";
import { workerFile } from "../setup/build-worker.js";
import { cases, type Followed, follow } from "./trajectory.js";

const baseline: readonly (readonly [VariantId, number])[] = [
  ["simd128", 1],
  ["simd128-threads", 1],
  ["simd128-threads", 2],
];

describe.runIf(hasData).each(Object.keys(cases))("%s", (name) => {
  const bits = new Set<string>();

  it.each(baseline)("%s, %i thread(s)", async (variant, threads) => {
    const { losses, departures, used } = await follow(name, variant, threads);
    expect(used).toBe(`${variant} ${threads}`);
    expect(departures).toEqual([]);
    bits.add(losses);
  });

  it("gives the same bits on every baseline configuration", () => {
    expect(bits.size).toBe(1);
  });
});

/** Node 20 knows relaxed SIMD behind a flag that a running process can't set. */
describe.runIf(hasData)("relaxed variants", () => {
  it("follow both trajectories, with equal bits on one thread and on two", { timeout: 240_000 }, async () => {
    const outfile = fileURLToPath(new URL("../../node_modules/.cache/wasmith/relaxed.mjs", import.meta.url));
    await build({
      entryPoints: [fileURLToPath(new URL("./relaxed.ts", import.meta.url))],
      outfile,
      bundle: true,
      format: "esm",
      platform: "node",
      packages: "external",
      logLevel: "warning",
    });
    const text = execFileSync(process.execPath, ["--experimental-wasm-relaxed-simd", outfile, workerFile.href], {
      encoding: "utf8",
      env: { ...process.env, WASMITH_DATA: dataFolder },
    });
    const results = JSON.parse(text) as Record<string, Followed[]>;
    for (const [name, followed] of Object.entries(results)) {
      expect(
        followed.flatMap((f) => f.departures),
        name,
      ).toEqual([]);
      expect(followed.map((f) => f.used)).toEqual(["relaxed 1", "relaxed-threads 1", "relaxed-threads 2"]);
      expect(new Set(followed.map((f) => f.losses)).size, name).toBe(1);
    }
  });
});
