import { describe, expect, it } from "vitest";
import { dimSymbol } from "../../ir/dim.js";
import { einsum, linear, matmul } from "../../ir/einsum.js";
import { graph, param, shapeText, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { evaluate } from "../../ir/reference.js";
import { forEachIndex, stridesOf, type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { randomTensor, seeded } from "../graph/random.js";

const run = (v: Value) => evaluate(graph("g", [], [v]), [])[0]!;
const at = (t: Tensor, index: readonly number[]) => {
  const strides = stridesOf(t.shape);
  return toNumbers(t)[index.reduce((s, v, a) => s + (t.shape[a] === 1 ? 0 : v) * strides[a]!, 0)]!;
};

/** Loops over all labels: the definition. */
function slowEinsum(inputs: string[], result: string, tensors: Tensor[]): number[] {
  const labels = [...new Set([...result, ...inputs.join("")])];
  const sizes = labels.map((l) =>
    Math.max(...inputs.map((term, i) => (term.includes(l) ? tensors[i]!.shape[term.indexOf(l)]! : 1))),
  );
  const shape = [...result].map((l) => sizes[labels.indexOf(l)]!);
  const out = new Array<number>(shape.reduce((p, d) => p * d, 1)).fill(0);
  const strides = stridesOf(shape);
  forEachIndex(sizes, (index) => {
    const of = (term: string) => [...term].map((l) => index[labels.indexOf(l)]!);
    const to = of(result).reduce((s, v, a) => s + v * strides[a]!, 0);
    out[to]! += inputs.reduce((p, term, i) => p * at(tensors[i]!, of(term)), 1);
  });
  return out;
}

describe("einsum", () => {
  const cases: [string, number[][]][] = [
    [
      "ij,jk->ik",
      [
        [2, 3],
        [3, 4],
      ],
    ],
    [
      "bij,bkj->bik",
      [
        [2, 3, 4],
        [2, 5, 4],
      ],
    ],
    ["i,i->", [[5], [5]]],
    ["i,j->ij", [[3], [4]]],
    ["ij->ji", [[2, 3]]],
    ["ij->j", [[2, 3]]],
    ["ii->i", [[4, 4]]],
    ["ii->", [[4, 4]]],
    [
      "bhqd,bhkd->bhqk",
      [
        [2, 2, 3, 4],
        [2, 2, 5, 4],
      ],
    ],
    [
      "ij,ij->ij",
      [
        [2, 3],
        [2, 3],
      ],
    ],
    [
      "ij,jk,kl->il",
      [
        [2, 3],
        [3, 4],
        [4, 2],
      ],
    ],
    [
      "bn,anm,bm->ba",
      [
        [2, 3],
        [4, 3, 5],
        [2, 5],
      ],
    ],
    [
      "ij,kj->ik",
      [
        [2, 1],
        [3, 4],
      ],
    ],
    [
      "abc,cde->ebd",
      [
        [2, 3, 4],
        [4, 2, 5],
      ],
    ],
  ];
  it.each(cases)("%s", (equation, shapes) => {
    const random = seeded(3);
    const tensors = shapes.map((s) => randomTensor(random, "f64", s));
    const [left, right] = equation.split("->");
    const got = run(einsum(equation, ...tensors.map((value) => constant([], { value }))));
    const want = slowEinsum(left!.split(","), right!, tensors);
    toNumbers(got).forEach((v, i) => {
      expect(v).toBeCloseTo(want[i]!, 9);
    });
    expect(got.data.length).toBe(want.length);
  });
  it("takes ellipses and implicit results", () => {
    const x = param("x", { dtype: "f32", shape: [dimSymbol("n"), 3, 4] });
    const w = param("w", { dtype: "f32", shape: [4, 5] });
    expect(shapeText(einsum("...i,ij->...j", x, w).type.shape)).toBe("[n,3,5]");
    expect(shapeText(einsum("nab,bc", x, w).type.shape)).toBe("[3,5,n]");
  });
  it("says what is wrong", () => {
    const x = param("x", { dtype: "f32", shape: [2, 3] });
    expect(() => einsum("ij,jk->ik", x, x)).toThrow('label "j" has sizes 3 and 2');
    expect(() => einsum("ijk->i", x)).toThrow('"ijk" has 3 labels for f32[2,3]');
    expect(() => einsum("ij->k", x)).toThrow('"k" is in no operand');
  });
});

describe("matmul", () => {
  it.each([
    [[2, 3], [3, 4], "[2,4]"],
    [[3], [3, 4], "[4]"],
    [[2, 3], [3], "[2]"],
    [[3], [3], "[]"],
    [[5, 2, 3], [3, 4], "[5,2,4]"],
    [[5, 1, 2, 3], [7, 3, 4], "[5,7,2,4]"],
    [[3], [7, 3, 4], "[7,4]"],
  ])("%j · %j is %s", (a, b, want) => {
    const make = (shape: number[]) =>
      constant([], { value: tensorFrom("f32", shape, new Array(shape.reduce((p, d) => p * d, 1)).fill(1)) });
    const got = matmul(make(a), make(b));
    expect(shapeText(got.type.shape)).toBe(want);
    expect(new Set(toNumbers(run(got)))).toEqual(new Set([3]));
  });
  it("names sizes that do not fit", () => {
    const x = param("x", { dtype: "f32", shape: [2, 3] });
    expect(() => matmul(x, x)).toThrow("differ in size");
    expect(shapeText(linear(x, param("w", { dtype: "f32", shape: [7, 3] })).type.shape)).toBe("[2,7]");
  });
});
