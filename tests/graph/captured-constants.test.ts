/** Weights are constants of a graph by default: what regions capture of them must get gradients as parameters do. */
import { describe, expect, it } from "vitest";
import { np, sum } from "../../ir/build.js";
import { ifOp, scanOp } from "../../ir/control-build.js";
import { matmul } from "../../ir/einsum.js";
import { graph, graphNodes, param, type Value } from "../../ir/graph.js";
import { constant, scalarConstant } from "../../ir/ops/constant.js";
import { sin, tanh } from "../../ir/ops/elementwise.js";
import { lstm, rnn } from "../../ir/ops/recurrent.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { simplify } from "../../passes/graph/simplify.js";
import { randomTensor, seeded } from "./random.js";

type Program = (x: Value, w: Value) => Value;

const yes = () => scalarConstant("bool", 1);
const steps = (x: Value, w: Value) =>
  scanOp({ carried: [x], length: 3 }, ([s]) => ({ carried: [tanh([matmul(s!, w)])] })).carried[0]!;

/** Of x [2, 3] and a weight [3, 3]. */
const programs: Readonly<Record<string, Program>> = {
  "a scan": steps,
  "a branch": (x, w) =>
    ifOp(
      yes(),
      () => [matmul(x, w)],
      () => [sin([w])].map((v) => matmul(x, v)),
    )[0]!,
  "the other branch": (x, w) =>
    ifOp(
      scalarConstant("bool", 0),
      () => [x],
      () => [matmul(x, w)],
    )[0]!,
  "a scan in a branch": (x, w) =>
    ifOp(
      yes(),
      () => [steps(x, w)],
      () => [x],
    )[0]!,
  "a branch in a scan": (x, w) =>
    scanOp({ carried: [x], length: 2 }, ([s]) => ({
      carried: ifOp(
        yes(),
        () => [sin([matmul(s!, w)])],
        () => [s!],
      ),
    })).carried[0]!,
  "a scan in a scan, and outside": (x, w) =>
    np.mul(matmul(x, w), scanOp({ carried: [x], length: 2 }, ([s]) => ({ carried: [steps(s!, w)] })).carried[0]!),
  "a recurrent layer": (x, w) => {
    const rows = scanOp({ carried: [], inputs: [x] }, (_, [r]) => ({ carried: [], scanned: [r!] })).scanned[0]!;
    const sequence = np.mul(constant([], { value: tensorFrom("f64", [2, 1, 3], [1, 2, 3, 4, 5, 6]) }), rows);
    const zero = constant([], { value: tensorFrom("f64", [2, 3], [0, 0, 0, 0, 0, 0]) });
    return rnn([sequence, w, w, zero], { activation: "tanh", reverse: false })[1]!;
  },
  "an LSTM": (x, w) => {
    const inputs = np.mul(x, constant([], { value: tensorFrom("f64", [4, 1, 1], [1, -1, 2, 0.5]) }));
    const four = matmul(
      constant([], {
        value: tensorFrom(
          "f64",
          [12, 3],
          Array.from({ length: 36 }, (_, i) => Math.sin(i)),
        ),
      }),
      w,
    );
    const zero = constant([], { value: tensorFrom("f64", [2, 3], [0, 0, 0, 0, 0, 0]) });
    return lstm([inputs, four, four, zero, zero], { gates: "ifgo", reverse: false })[0]!;
  },
};

function gradientOf(program: Program, x: Tensor, w: Tensor, asConstant: boolean): readonly number[] {
  const input = param("x", { dtype: "f64", shape: x.shape });
  const weight = asConstant ? constant([], { value: w, name: "w" }) : param("w", { dtype: "f64", shape: w.shape });
  const found = gradients(sum(program(input, weight)), [weight]);
  return toNumbers(evaluate(graph("g", asConstant ? [input] : [input, weight], found), asConstant ? [x] : [x, w])[0]!);
}

describe("the gradient of a constant is that of a parameter in its place", () => {
  const random = seeded(3);
  const x = randomTensor(random, "f64", [2, 3], [0.3, 1]);
  const w = randomTensor(random, "f64", [3, 3], [0.1, 0.5]);
  for (const [name, program] of Object.entries(programs)) {
    it(name, () => {
      const want = gradientOf(program, x, w, false);
      expect(want.every((v) => v !== 0)).toBe(true);
      expect(gradientOf(program, x, w, true)).toEqual(want);
    });
  }
});

it("constants are in the regions again once a graph is simplified", () => {
  const x = param("x", { dtype: "f64", shape: [2, 3] });
  const w = constant([], { value: tensorFrom("f64", [3, 3], [1, 0, 0, 0, 1, 0, 0, 0, 1]) });
  const loops = (g: ReturnType<typeof graph>) => graphNodes(g).filter((n) => n.op === "scan");
  const g = graph("g", [x], [steps(x, w)]);
  expect(loops(g)[0]!.operands).toEqual([x, w]);
  expect(loops(simplify.run(g))[0]!.operands).toEqual([x]);
});
