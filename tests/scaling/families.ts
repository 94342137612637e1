/**
 * Models of n nodes, each large in one way: long chains, wide fans, many constants, many layers, many sizes, deep expressions, long
 * regions. Sizes of tensors are small, so that what counts is the number of nodes.
 */
import { losses, nn, optim, trainStep } from "../../compiler/dsl/index.js";
import type { GraphProto, NodeProto, TensorProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { model, node, tensorInfo } from "../onnx/build.js";
import type { ScalingModel } from "./measure.js";

type Dims = readonly (number | string)[];

const floats = (
  name: string,
  dims: readonly number[],
  of = (i: number): number => 0.01 * ((i * 7) % 13),
): TensorProto => {
  const count = dims.reduce((a, b) => a * b, 1);
  return { name, dataType: 1, dims: [...dims], floatData: Array.from({ length: count }, (_, i) => of(i)) };
};
const ints = (name: string, values: readonly number[], dims: readonly number[] = [values.length]): TensorProto => ({
  name,
  dataType: 7,
  dims: [...dims],
  int64Data: values.map((v) => v),
});

interface Parts {
  readonly nodes: readonly NodeProto[];
  readonly weights?: readonly TensorProto[];
  readonly outputs?: readonly string[];
  readonly inputs?: GraphProto["input"];
}

/** A file over the input x. The last node's first output is the result, if nothing else is said. */
function file(x: Dims, { nodes, weights = [], outputs, inputs }: Parts): ScalingModel {
  const names = outputs ?? [nodes.at(-1)!.output![0]!];
  return encodeModel(
    model({
      input: inputs ?? [tensorInfo("x", x)],
      output: names.map((name) => tensorInfo(name, undefined)),
      initializer: [...weights],
      node: [...nodes],
    }),
  );
}

const range = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));

/** v0 is x; step i makes v(i+1) of v(i). */
const chain = (
  n: number,
  step: (from: string, to: string, i: number) => NodeProto | readonly NodeProto[],
): NodeProto[] => range(n, (i) => step(i === 0 ? "x" : `v${i}`, `v${i + 1}`, i)).flat();

const halvingTree = (op: string, leaves: readonly string[], nodes: NodeProto[]): string => {
  let level = leaves;
  while (level.length > 1) {
    const next: string[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) {
      const name = `t${nodes.length}`;
      nodes.push(node(op, [level[i]!, level[i + 1]!], [name]));
      next.push(name);
    }
    if (level.length % 2 === 1) next.push(level.at(-1)!);
    level = next;
  }
  return level[0]!;
};

/** A name to what makes a model of about n nodes. */
export const families: { readonly [name: string]: (n: number) => ScalingModel } = {
  softmaxes: (n) => file([2, 8], { nodes: chain(n, (a, b) => node("Softmax", [a], [b])) }),
  elementwise: (n) =>
    file([2, 8], { nodes: chain(n, (a, b, i) => node(["Tanh", "Neg", "Sigmoid", "Exp"][i % 4]!, [a], [b])) }),
  residuals: (n) =>
    file([2, 8], {
      nodes: chain(n / 2, (a, b, i) => [node("Softmax", [a], [`s${i}`]), node("Add", [a, `s${i}`], [b])]),
    }),
  "residuals of the input": (n) => file([2, 8], { nodes: chain(n, (a, b) => node("Sub", [a, "x"], [b])) }),
  "residuals far apart": (n) =>
    file([2, 8], {
      nodes: chain(n, (a, b, i) => (i < n / 2 ? node("Softmax", [a], [b]) : node("Add", [a, `v${n - i}`], [b]))),
    }),
  "wide sum": (n) =>
    file([2, 8], {
      nodes: [
        ...range(n, (i) =>
          node(
            "Softmax",
            [i % 2 ? "x" : `s${i - 2}`].map((v) => (i < 2 ? "x" : v)),
            [`s${i}`],
          ),
        ),
        node(
          "Sum",
          range(n, (i) => `s${i}`),
          ["y"],
        ),
      ],
    }),
  "wide concat": (n) =>
    file([2, 8], {
      nodes: [
        ...range(n, (i) =>
          node(
            "Tanh",
            ["x"].map((v) => (i === 0 ? v : `c${i - 1}`)),
            [`c${i}`],
          ),
        ),
        node(
          "Concat",
          range(n, (i) => `c${i}`),
          ["y"],
          { axis: 1 },
        ),
      ],
    }),
  "concat of constants": (n) =>
    file([1, 8], {
      nodes: [
        node(
          "Concat",
          range(n, (i) => `w${i}`),
          ["all"],
          { axis: 0 },
        ),
        node("Add", ["all", "x"], ["y"]),
      ],
      weights: range(n, (i) => floats(`w${i}`, [1, 8], (k) => i + k)),
    }),
  "split and joined": (n) =>
    file([2 * n, 4], {
      nodes: [
        node(
          "Split",
          ["x"],
          range(n, (i) => `p${i}`),
          { axis: 0, num_outputs: n },
        ),
        ...range(n, (i) => node("Softmax", [`p${i}`], [`s${i}`])),
        node(
          "Concat",
          range(n, (i) => `s${n - 1 - i}`),
          ["y"],
          { axis: 0 },
        ),
      ],
    }),
  "one value read by all": (n) =>
    file([2, 8], {
      nodes: [
        node("Softmax", ["x"], ["s"]),
        ...chain(n, (a, b, i) => node(i % 7 ? "Add" : "Softmax", i % 7 ? [a, "s"] : [a], [b])),
      ],
    }),
  "wide symbolic": (n) =>
    file(["a", 8], {
      nodes: [
        ...range(n, (i) => node("Softmax", [i < 3 ? "x" : `s${i - 3}`], [`s${i}`])),
        node(
          "Concat",
          range(n, (i) => `s${i}`),
          ["y"],
          { axis: 0 },
        ),
      ],
    }),
  "many outputs": (n) =>
    file([2, 8], {
      nodes: chain(n, (a, b) => node("Tanh", [a], [b])),
      outputs: range(n, (i) => `v${i + 1}`),
    }),
  "many inputs": (n) => {
    const nodes: NodeProto[] = [];
    halvingTree(
      "Add",
      range(n, (i) => `x${i}`),
      nodes,
    );
    return file([], { nodes, inputs: range(n, (i) => tensorInfo(`x${i}`, [8])) });
  },
  "constants added": (n) =>
    file([2, 8], {
      nodes: chain(n, (a, b, i) => node(i % 2 ? "Mul" : "Add", [a, `w${i}`], [b])),
      weights: range(n, (i) => floats(`w${i}`, [8], (k) => 1 + 0.001 * (i + k))),
    }),
  "constants of one value": (n) =>
    file([2, 8], {
      nodes: chain(n, (a, b, i) => node(i % 2 ? "Mul" : "Sub", [a, `w${i}`], [b])),
      weights: range(n, (i) => floats(`w${i}`, [], () => 1.5)),
    }),
  "constant expressions": (n) =>
    file([8], {
      nodes: [
        ...range(n, (i) =>
          node(["Add", "Max", "Mul"][i % 3]!, [i === 0 ? "w0" : `e${i}`, `w${i % 50}`], [`e${i + 1}`]),
        ),
        node("Add", ["x", `e${n}`], ["y"]),
      ],
      weights: range(50, (i) => floats(`w${i}`, [8], (k) => 1 / (1 + i + k))),
    }),
  "unused constants": (n) =>
    file([8], {
      nodes: [node("Tanh", ["x"], ["y"])],
      weights: range(n, (i) => floats(`w${i}`, [8])),
    }),
  layers: (n) =>
    file(["batch", 8], {
      nodes: chain(n / 3, (a, b, i) => [
        node("MatMul", [a, `w${i}`], [`m${i}`]),
        node("Add", [`m${i}`, `b${i}`], [`a${i}`]),
        node("Relu", [`a${i}`], [b]),
      ]),
      weights: range(n / 3, (i) => [floats(`w${i}`, [8, 8], (k) => (i + k) / 100), floats(`b${i}`, [8])]).flat(),
    }),
  "layers of many sizes": (n) =>
    file([2, 8], {
      nodes: chain(n / 2, (a, b, i) => [node("MatMul", [a, `w${i}`], [`m${i}`]), node("Relu", [`m${i}`], [b])]),
      weights: range(n / 2, (i) => floats(`w${i}`, [8 + (i % 40), 8 + ((i + 1) % 40)])),
    }),
  convolutions: (n) =>
    file([1, 4, 6, 6], {
      nodes: chain(n / 2, (a, b, i) => [
        node("Conv", [a, `w${i}`], [`c${i}`], { pads: [1, 1, 1, 1] }),
        node("Relu", [`c${i}`], [b]),
      ]),
      weights: range(n / 2, (i) => floats(`w${i}`, [4, 4, 3, 3], (k) => (i + k) / 1000)),
    }),
  "symbolic sizes": (n) =>
    file(["a", "b"], {
      nodes: chain(n / 4, (a, b, i) => [
        node("Softmax", [a], [`s${i}`]),
        node("Transpose", [`s${i}`], [`t${i}`], { perm: [1, 0] }),
        node("Softmax", [`t${i}`], [`u${i}`]),
        node("Add", [`u${i}`, `t${i}`], [b]),
      ]),
    }),
  "sizes that grow": (n) =>
    file(["a", 8], {
      nodes: chain(n / 2, (a, b, i) => [
        node("Concat", [a, "x"], [`c${i}`], { axis: 0 }),
        node(i % 2 ? "Softmax" : "LogSoftmax", [`c${i}`], [b]),
      ]),
    }),
  "reshapes by shapes": (n) =>
    file(["a", "b"], {
      nodes: chain(n / 6, (a, b, i) => [
        node("Shape", [a], [`s${i}`]),
        node("Gather", [`s${i}`, "zero"], [`g${i}`]),
        node("Unsqueeze", [`g${i}`, "axes"], [`u${i}`]),
        node("Concat", [`u${i}`, "rest"], [`k${i}`], { axis: 0 }),
        node("Reshape", [a, `k${i}`], [`r${i}`]),
        node("Softmax", [`r${i}`], [b]),
      ]),
      weights: [ints("zero", [0], []), ints("axes", [0]), ints("rest", [-1])],
    }),
  moves: (n) =>
    file([2, 3, 4], {
      nodes: chain(n / 3, (a, b, i) => [
        node("Transpose", [a], [`t${i}`], { perm: [1, 0, 2] }),
        node("Reshape", [`t${i}`, "shape"], [`r${i}`]),
        node("Slice", [`r${i}`, "starts", "ends", "axes", "steps"], [b]),
      ]),
      weights: [
        ints("shape", [2, 3, 4]),
        ints("starts", [-1]),
        ints("ends", [-100]),
        ints("axes", [1]),
        ints("steps", [-1]),
      ],
    }),
  "wide tree": (n) => {
    const nodes = range(n / 2, (i) => node(i % 2 ? "Softmax" : "Tanh", [i === 0 ? "x" : `l${i - 1}`], [`l${i}`]));
    halvingTree(
      "Mul",
      range(n / 2, (i) => `l${i}`),
      nodes,
    );
    return file([2, 8], { nodes });
  },
  "tree of maxima": (n) => {
    const nodes: NodeProto[] = range(n / 2, (i) => node("Add", ["x", `w${i}`], [`a${i}`]));
    halvingTree(
      "Max",
      range(n / 2, (i) => `a${i}`),
      nodes,
    );
    return file([2, 8], { nodes, weights: range(n / 2, (i) => floats(`w${i}`, [8], (k) => i * k)) });
  },
  branches: (n) =>
    file([4], {
      nodes: [
        node("ReduceSum", ["x"], ["sum"], { keepdims: 0 }),
        node("Greater", ["sum", "zero"], ["positive"]),
        ...chain(n / 3, (a, b) => {
          const branch = (op: string, name: string): GraphProto => ({
            name,
            output: [tensorInfo(`${name}.${b}`, undefined)],
            node: [node(op, [a], [`${name}.${b}`])],
          });
          return node("If", ["positive"], [b], {
            then_branch: { type: 5, g: branch("Tanh", "then") },
            else_branch: { type: 5, g: branch("Softmax", "else") },
          });
        }),
      ],
      weights: [floats("zero", [], () => 0)],
    }),
  "a long loop body": (n) => {
    const body: GraphProto = {
      name: "body",
      input: [tensorInfo("i", [], 7), tensorInfo("go", [], 9), tensorInfo("b0", [2, 8])],
      output: [tensorInfo("again", [], 9), tensorInfo(`b${n}`, [2, 8])],
      node: [
        node("Identity", ["go"], ["again"]),
        ...range(n, (i) => node(i % 3 ? "Softmax" : "Add", i % 3 ? [`b${i}`] : [`b${i}`, "x"], [`b${i + 1}`])),
      ],
    };
    return file([2, 8], {
      nodes: [node("Loop", ["count", "", "x"], ["y"], { body: { type: 5, g: body } })],
      weights: [ints("count", [3], [])],
    });
  },
  "nested regions": (n) => {
    const nested = (depth: number): GraphProto => {
      const name = `d${depth}`;
      const inner = range(n / 40, (i) => node("Softmax", [i === 0 ? "x" : `${name}.${i}`], [`${name}.${i + 1}`]));
      const deeper: NodeProto[] =
        depth === 0
          ? []
          : [
              node("If", ["positive"], [`${name}.if`], {
                then_branch: { type: 5, g: nested(depth - 1) },
                else_branch: {
                  type: 5,
                  g: {
                    name: `${name}.else`,
                    output: [tensorInfo(`${name}.e`, undefined)],
                    node: [node("Neg", ["x"], [`${name}.e`])],
                  },
                },
              }),
            ];
      const last = `${name}.${inner.length}`;
      return {
        name,
        output: [tensorInfo(`${name}.out`, undefined)],
        node: [...inner, ...deeper, node("Add", [last, depth === 0 ? "x" : `${name}.if`], [`${name}.out`])],
      };
    };
    return file([2, 8], {
      nodes: [
        node("ReduceSum", ["x"], ["sum"], { keepdims: 0 }),
        node("Greater", ["sum", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], {
          then_branch: { type: 5, g: nested(20) },
          else_branch: { type: 5, g: nested(20) },
        }),
      ],
      weights: [floats("zero", [], () => 0)],
    });
  },
  training: (n) =>
    trainStep(nn.sequential(...range(Math.ceil(n / 12), () => [nn.Linear(4, 4), nn.Tanh()]).flat()), {
      inputs: { x: [2, 4] },
      targets: { y: { dtype: "f32", shape: [2, 4] } },
      loss: losses.mse(),
      optimizer: optim.SGD({ lr: 0.01, momentum: 0.9 }),
    }),
};
