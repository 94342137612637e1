/** What buffers are planned for is never less than what a run finds. */

import { expect, it } from "vitest";
import {
  type Dim,
  dimAdd,
  dimFloorDiv,
  dimMax,
  dimMin,
  dimMod,
  dimMul,
  dimSub,
  dimSymbol,
  dimText,
  evaluateDim,
} from "../../ir/dim.js";
import { dimUpperBound } from "../../ir/dim-upper.js";
import { random } from "../onnx/mutate.js";

const n = dimSymbol("n", { min: 0, max: 9 });
const found = [dimSymbol("k", { min: 0, bound: n }), dimSymbol("m", { min: 1, bound: dimAdd(n, 2) })];

function expression(next: () => number, depth: number): Dim {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  if (depth === 0) return pick<Dim>([n, ...found, ...found, 1, 2, 5]);
  const [a, b] = [expression(next, depth - 1), expression(next, Math.max(0, depth - 1 - Math.floor(next() * 2)))];
  return pick([
    () => dimAdd(a, b),
    () => dimSub(a, b),
    () => dimMul(a, b),
    () => dimMin(a, b),
    () => dimMax(a, b),
    () => dimFloorDiv(a, 1 + Math.floor(next() * 4)),
    () => dimMod(a, 2 + Math.floor(next() * 3)),
    () => dimFloorDiv(a, dimMax(b, 1)),
  ])();
}

it("holds for random expressions", () => {
  const next = random(11);
  for (let i = 0; i < 400; i++) {
    const d = expression(next, 1 + Math.floor(next() * 3));
    const most = dimUpperBound(d);
    for (const size of [0, 1, 4]) {
      const largest = evaluateDim(most, new Map([["n", size]]));
      for (let k = 0; k <= size; k++)
        for (let m = 1; m <= size + 2; m++) {
          const env = new Map([
            ["n", size],
            ["k", k],
            ["m", m],
          ]);
          const value = evaluateDim(d, env);
          expect(value, `${dimText(d)} at n=${size}, k=${k}, m=${m}, planned ${dimText(most)}`).toBeLessThanOrEqual(
            largest,
          );
        }
    }
  }
});

it("is not more than it must be where it can be told", () => {
  const [k, m] = found as [Dim, Dim];
  expect(dimText(dimUpperBound(dimSub(n, k)))).toBe("n");
  expect(dimText(dimUpperBound(dimAdd(k, 1)))).toBe("n + 1");
  expect(dimText(dimUpperBound(dimMul(k, m)))).toBe(dimText(dimMul(n, dimAdd(n, 2))));
  expect(dimText(dimUpperBound(dimMod(n, 3)))).toBe("mod(n, 3)");
});
