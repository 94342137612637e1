/** The relaxed variant, in a child process: Node 20 has relaxed SIMD behind a flag. */

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { mathAccuracy } from "../../compiler/wasm/math.js";
import type { Errors } from "./f32-accuracy.js";

const child = fileURLToPath(new URL("relaxed-child.ts", import.meta.url));
const hot = ["exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "erf", "gelu", "geluGrad"] as const;

function inChild(...args: readonly string[]): string {
  const flags = ["--experimental-wasm-relaxed-simd", "--import", "tsx"];
  return execFileSync(process.execPath, [...flags, child, ...args], { encoding: "utf8" });
}

it("runs random kernels as the baseline does", () => {
  expect(inChild("kernels", "30").trim()).toBe("30");
}, 180_000);

it("keeps the math library's bounds with fused multiply-add", () => {
  const results = JSON.parse(inChild("errors", hot.join(","), "60013")) as Errors[];
  expect(results.map((r) => r.fn)).toEqual(hot);
  for (const { fn, worst, at, wrong } of results) {
    expect(wrong, fn).toEqual([]);
    expect(worst, `${fn}(${at})`).toBeLessThanOrEqual(mathAccuracy[fn].f32);
  }
}, 180_000);
