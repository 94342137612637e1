/**
 * Single ONNX ops with random attributes, types, opsets and sizes: imported with fixed and with dynamic sizes, evaluated, compiled,
 * and run by ONNX Runtime where that is there.
 */
import { compile } from "../../../compiler/compile.js";
import { codeOfDType } from "../../../compiler/onnx/dtype.js";
import { importOnnx } from "../../../compiler/onnx/import.js";
import type { ModelProto } from "../../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../../compiler/onnx/protobuf.js";
import { ModelError } from "../../../ir/errors.js";
import type { Graph } from "../../../ir/graph.js";
import { evaluate } from "../../../ir/reference.js";
import type { Tensor } from "../../../ir/tensor.js";
import { load } from "../../../runtime/index.js";
import { model, node, tensorInfo } from "../../onnx/build.js";
import { compareTensors } from "../../onnx/compare.js";
import { attributes } from "./attributes.js";
import { Draw, type Generator, type SingleOp } from "./draw.js";
import { elementwise } from "./elementwise.js";
import { excused } from "./exceptions.js";
import { indexing } from "./indexing.js";
import { layers } from "./layers.js";
import { movement } from "./movement.js";
import { products } from "./products.js";
import { rare } from "./rare.js";

type Tensors = Readonly<Record<string, Tensor>>;

/** Runs the bytes of a model; undefined where the engine has no kernel for the node. */
export type Oracle = (bytes: Uint8Array, feeds: Tensors) => Promise<Tensors | undefined>;

const GENERATORS: readonly Generator[] = [
  ...elementwise,
  ...movement,
  ...indexing,
  ...products,
  ...layers,
  ...rare,
  ...attributes,
];

export const generate = (seed: number): SingleOp => {
  const d = new Draw(seed);
  return d.pick(GENERATORS)(d);
};

function build(single: SingleOp, dynamic: boolean, types?: readonly number[]): ModelProto {
  const given = single.inputs.map((g, i) => g && { ...g, name: `i${i}` });
  const outputs = Array.from({ length: single.outputs }, (_, i) => `o${i}`);
  const sizes = (t: Tensor, name: string) => (dynamic ? t.shape.map((_, axis) => `${name}_${axis}`) : t.shape);
  return model(
    {
      input: given.flatMap((g) =>
        g && !g.constant ? [tensorInfo(g.name, sizes(g.tensor, g.name), codeOfDType(g.tensor.dtype))] : [],
      ),
      output: outputs.map((name, i) => tensorInfo(name, undefined, types?.[i] ?? 1)),
      initializer: given.flatMap((g) => {
        if (!g?.constant) return [];
        const { dtype, shape, data } = g.tensor;
        const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        return [{ name: g.name, dims: [...shape], dataType: codeOfDType(dtype), rawData }];
      }) as never,
      node: [
        node(
          single.op,
          given.map((g) => g?.name ?? ""),
          outputs,
          single.attrs as never,
        ),
      ],
    },
    [],
    single.opset,
  );
}

export const feedsOf = (single: SingleOp): Tensors =>
  Object.fromEntries(single.inputs.flatMap((g, i) => (g && !g.constant ? [[`i${i}`, g.tensor]] : [])));

/** The model with its sizes fixed, and its outputs typed, as ONNX Runtime wants them. */
export function bytesOf(single: SingleOp, graph: Graph | undefined): Uint8Array {
  const types = graph?.results.map((v) => codeOfDType(v.type.dtype as never));
  return encodeModel(build(single, false, types));
}

export function describeSingle(single: SingleOp): string {
  const inputs = single.inputs.map((g) => (g ? `${g.tensor.dtype}[${g.tensor.shape}]${g.constant ? "=" : ""}` : "-"));
  return `${single.op} ${single.opset} ${JSON.stringify(single.attrs)} (${inputs.join(", ")})`;
}

const named = (graph: Graph, values: readonly Tensor[]): Tensors =>
  Object.fromEntries(graph.resultNames.map((name, i) => [name, values[i]!]));

async function compiled(graph: Graph, feeds: Tensors): Promise<Tensors> {
  const session = await load(await compile(graph, { variants: ["simd128"] }), { threads: 1 });
  try {
    return (await session.run(feeds as never)) as Tensors;
  } finally {
    session.dispose();
  }
}

export interface Outcome {
  readonly single: SingleOp;
  /** What differs, or ends in anything but a ModelError. */
  readonly problems: readonly string[];
  /** Why it was not imported, if it was not. */
  readonly refused?: string;
  /** Whether the oracle took part. */
  readonly judged: boolean;
}

function differences(what: string, got: Tensors, want: Tensors, tol: number): readonly string[] {
  return Object.entries(want).flatMap(([name, tensor]) => {
    const wrong = got[name] ? compareTensors(got[name], tensor, { rtol: tol, atol: tol }) : "is missing";
    return wrong ? [`${what}, ${name}: ${wrong}`] : [];
  });
}

/** A value, or the message of the ModelError that came instead; other errors are thrown. */
async function attempt<T>(body: () => T | Promise<T>): Promise<{ readonly value: T } | { readonly refused: string }> {
  try {
    return { value: await body() };
  } catch (error) {
    if (error instanceof ModelError || (error as Error)?.name === "ModelError") return { refused: String(error) };
    throw error;
  }
}

export async function judge(seed: number, oracle?: Oracle): Promise<Outcome> {
  const single = generate(seed);
  const feeds = feedsOf(single);
  const { tol = 1e-4 } = single;
  const problems: string[] = [];
  let graph: Graph | undefined;
  let refused: string | undefined;
  let want: Tensors | undefined;
  try {
    const imported = await attempt(() => importOnnx(encodeModel(build(single, false))));
    if ("refused" in imported) refused = imported.refused;
    else {
      graph = imported.value;
      const own = graph;
      want = named(own, evaluate(own, feeds));
      problems.push(...differences("compiled", await compiled(own, feeds), want, 1e-5));
      const names = single.inputs.flatMap((g, i) =>
        g && !g.constant ? g.tensor.shape.map((_, a) => `i${i}_${a}`) : [],
      );
      const dims = Object.fromEntries(names.map((name) => [name, [0, 24] as const]));
      // What needs a fixed size may refuse a dynamic one; what it takes gives the same.
      const open = await attempt(() => importOnnx(encodeModel(build(single, true)), { dims }));
      if ("value" in open && names.length > 0) {
        const values = await attempt(() => evaluate(open.value, feeds));
        const run = await attempt(() => compiled(open.value, feeds));
        if ("value" in values) problems.push(...differences("dynamic", named(open.value, values.value), want, 1e-5));
        if ("value" in run) problems.push(...differences("dynamic, compiled", run.value, want, 1e-5));
        if ("refused" in run !== "refused" in values)
          problems.push(
            `dynamic: ${"refused" in run ? `compiled refuses: ${run.refused}` : "only the reference refuses"}`,
          );
      }
    }
  } catch (error) {
    problems.push(`ends in ${error instanceof Error ? (error.stack ?? error.message).slice(0, 600) : String(error)}`);
  }
  const judgement = oracle && excused(single) === undefined ? await oracle(bytesOf(single, graph), feeds) : undefined;
  if (judgement && refused !== undefined) problems.push(`refused, though ONNX Runtime runs it: ${refused}`);
  else if (judgement && want) problems.push(...differences("against ONNX Runtime", want, judgement, tol));
  return { single, problems, judged: judgement !== undefined, ...(refused === undefined ? {} : { refused }) };
}
