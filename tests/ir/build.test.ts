import { describe, expect, it } from "vitest";
import * as b from "../../ir/build.js";
import { dimSub, dimSymbol } from "../../ir/dim.js";
import { graph, param, shapeText, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { evaluate } from "../../ir/reference.js";
import { tensorFrom, toNumbers } from "../../ir/tensor.js";

const value = (shape: number[], values: number[]) => constant([], { value: tensorFrom("f32", shape, values) });
const run = (v: Value) => toNumbers(evaluate(graph("g", [], [v]), [])[0]!);
const range = (...shape: number[]) => {
  const n = shape.reduce((p, d) => p * d, 1);
  return value(
    shape,
    Array.from({ length: n }, (_, i) => i),
  );
};

describe("broadcasting helpers", () => {
  it("lift numbers and align at the last axis", () => {
    expect(run(b.np.add(range(2, 3), 1))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(run(b.np.mul(range(2, 3), range(3)))).toEqual([0, 1, 4, 0, 4, 10]);
    expect(run(b.np.sub(range(2, 1), range(3)))).toEqual([0, -1, -2, 1, 0, -1]);
  });
  it("name the shapes that do not fit", () => {
    expect(() => b.np.add(range(2), range(3))).toThrow("[2] and [3] do not broadcast");
  });
  it("keep symbolic dims", () => {
    const n = dimSymbol("n");
    const x = param("x", { dtype: "f32", shape: [n, 3] });
    expect(shapeText(b.np.add(x, range(3)).type.shape)).toBe("[n,3]");
    expect(shapeText(b.flatten(x).type.shape)).toBe("[3*n]");
    expect(shapeText(b.mean(x, 0).type.shape)).toBe("[3]");
    expect(
      toNumbers(evaluate(graph("g", [x], [b.mean(x, 0)]), [tensorFrom("f32", [2, 3], [1, 2, 3, 3, 4, 5])])[0]!),
    ).toEqual([2, 3, 4]);
  });
});

describe("shape helpers", () => {
  it("reshape with an open axis, expand, squeeze and move axes", () => {
    expect(shapeText(b.reshapeTo(range(4, 6), [-1, 8]).type.shape)).toBe("[3,8]");
    expect(() => b.reshapeTo(range(4, 6), [-1, 7])).toThrow("does not divide into [?,7]");
    expect(shapeText(b.expandDims(range(2, 3), 0, -1).type.shape)).toBe("[1,2,3,1]");
    expect(shapeText(b.squeeze(range(1, 2, 1)).type.shape)).toBe("[2]");
    expect(() => b.squeeze(range(2, 3), 0)).toThrow("only size 1");
    expect(shapeText(b.moveAxis(range(2, 3, 4), 0, -1).type.shape)).toBe("[3,4,2]");
  });
  it("cancel sizes that a reshape keeps, sums too, but for 0", () => {
    const n = dimSymbol("n");
    const x = param("x", { dtype: "f32", shape: [dimSymbol("m"), dimSub(n, 1), 8] });
    expect(shapeText(b.reshapeTo(x, [...x.type.shape.slice(0, 2), 4, -1]).type.shape)).toBe("[m,n - 1,4,2]");
    expect(shapeText(b.reshapeTo(x, [dimSub(n, 1), -1]).type.shape)).toBe("[n - 1,8*m]");
    expect(() => b.reshapeTo(x, [dimSub(n, 1), 3, -1])).toThrow("does not divide into [n - 1,3,?]");
    expect(() => b.reshapeTo(range(0, 4), [0, -1])).toThrow("does not divide into [0,?]");
  });
  it("cut, join and repeat", () => {
    expect(b.split(range(6), 0, [1, 2, 3]).map(run)).toEqual([[0], [1, 2], [3, 4, 5]]);
    expect(() => b.split(range(5), 0, 2)).toThrow("2 equal parts");
    expect(run(b.stack([range(2), range(2)], 1))).toEqual([0, 0, 1, 1]);
    expect(run(b.flip(range(2, 2), 1))).toEqual([1, 0, 3, 2]);
    expect(run(b.roll(range(5), 2, 0))).toEqual([3, 4, 0, 1, 2]);
    expect(run(b.tile(range(2), [2, 2]))).toEqual([0, 1, 0, 1, 0, 1, 0, 1]);
    expect(run(b.repeatElements(range(3), 2, 0))).toEqual([0, 0, 1, 1, 2, 2]);
    // Heads that do not divide, in an importer's arithmetic.
    expect(() => b.repeatElements(range(3), 0.5, 0)).toThrow(/whose size 0\.5 is no whole number/);
    expect(run(b.padConstant(range(4), [-1], [2], 9))).toEqual([1, 2, 3, 9, 9]);
    expect(run(b.takeAt(range(2, 3), 1, -1))).toEqual([2, 5]);
  });
  it("reduce", () => {
    expect(run(b.variance(range(4), undefined, { correction: 1 }))[0]).toBeCloseTo(5 / 3, 6);
    expect(run(b.clamp(range(4), 1, 2))).toEqual([1, 1, 2, 2]);
    expect(run(b.lowerTriangle(2, 3))).toEqual([1, 0, 0, 1, 1, 0]);
  });
});
