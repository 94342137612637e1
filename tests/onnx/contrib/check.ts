/** One node of com.microsoft, evaluated and compiled, against numbers that a test computes by a formula of its own. */
import { expect } from "vitest";
import { compile } from "../../../compiler/compile.js";
import { codeOfDType } from "../../../compiler/onnx/dtype.js";
import { importOnnx } from "../../../compiler/onnx/import.js";
import { encodeModel } from "../../../compiler/onnx/protobuf.js";
import { evaluate } from "../../../ir/reference.js";
import { type Tensor, tensorFrom } from "../../../ir/tensor.js";
import { load } from "../../../runtime/index.js";
import { type attr, model, node, tensorInfo } from "../build.js";
import { compareTensors } from "../compare.js";
import { random } from "../mutate.js";
import { hasOnnxRuntime, runOnnxRuntime } from "../onnxruntime.js";

export const size = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** Numbers of a seed: the same in each run. */
export function draws(seed: number) {
  const next = random(seed);
  const fill = (shape: readonly number[], draw: () => number) => Array.from({ length: size(shape) }, draw);
  return {
    floats: (shape: readonly number[], scale = 1): Tensor =>
      tensorFrom(
        "f32",
        shape,
        fill(shape, () => (next() * 2 - 1) * scale),
      ),
    positive: (shape: readonly number[], scale = 1): Tensor =>
      tensorFrom(
        "f32",
        shape,
        fill(shape, () => (0.1 + next()) * scale),
      ),
    bytes: (shape: readonly number[], dtype: "u8" | "i8" = "u8"): Tensor =>
      tensorFrom(
        dtype,
        shape,
        fill(shape, () => Math.floor(next() * 256) - (dtype === "i8" ? 128 : 0)),
      ),
  };
}

export const i32 = (shape: readonly number[], values: readonly number[]): Tensor => tensorFrom("i32", shape, values);
export const i64 = (shape: readonly number[], values: readonly number[]): Tensor => tensorFrom("i64", shape, values);
export const f32 = (shape: readonly number[], values: readonly number[]): Tensor => tensorFrom("f32", shape, values);
export const float = (f: number) => ({ type: 1, f });

/** Row-major access by index. */
export function at(t: Tensor): (...index: readonly number[]) => number {
  return (...index) => Number(t.data[index.reduce((flat, i, axis) => flat * t.shape[axis]! + i, 0)]);
}

/** A tensor by a formula over its index. */
export function byIndex(shape: readonly number[], value: (...index: number[]) => number): Tensor {
  const data = Array.from({ length: size(shape) }, (_, flat) => {
    const index: number[] = [];
    let rest = flat;
    for (const d of [...shape].reverse()) {
      index.unshift(rest % d);
      rest = Math.floor(rest / d);
    }
    return value(...index);
  });
  return tensorFrom("f32", shape, data);
}

interface Check {
  readonly op: string;
  readonly domain?: string;
  readonly opset?: number;
  readonly inputs: readonly (Tensor | undefined)[];
  /** Inputs that are initializers of the file. */
  readonly constants?: readonly number[];
  readonly attrs?: Readonly<Record<string, Parameters<typeof attr>[1]>>;
  /** Expected outputs, in order; undefined ones are not checked. */
  readonly want: readonly (Tensor | undefined)[];
  readonly tol?: number;
  /** False where ONNX Runtime's wasm build lacks the op or the form. */
  readonly onnxruntime?: boolean;
  /** Names sizes of inputs, which are then dynamic. */
  readonly dims?: Readonly<Record<number, readonly (number | string)[]>>;
}

export async function checkOp(check: Check): Promise<void> {
  const { op, inputs, constants = [], want, tol = 1e-4, dims = {} } = check;
  const outputs = want.map((_, i) => `o${i}`);
  const given = inputs.flatMap((t, i) => (t && !constants.includes(i) ? [{ t, i }] : []));
  const fixed = inputs.flatMap((t, i) => (t && constants.includes(i) ? [{ t, i }] : []));
  const code = (t: Tensor) => codeOfDType(t.dtype);
  const names = inputs.map((t, i) => (t ? `i${i}` : ""));
  const made = model(
    {
      input: given.map(({ t, i }) => tensorInfo(`i${i}`, dims[i] ?? t.shape, code(t))),
      output: want.map((t, i) => tensorInfo(`o${i}`, undefined, t ? code(t) : 1)),
      initializer: fixed.map(({ t, i }) => ({
        name: `i${i}`,
        dims: [...t.shape],
        dataType: code(t),
        rawData: new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength),
      })) as never,
      node: [node(op, names, outputs, check.attrs ?? {}, { domain: check.domain ?? "com.microsoft" })],
    },
    [],
    check.opset ?? 17,
  );
  made.opsetImport!.push({ domain: "com.microsoft", version: 1 });
  const bytes = encodeModel(made);
  const feeds = Object.fromEntries(given.map(({ t, i }) => [`i${i}`, t]));
  const wrong = (by: string, got: Readonly<Record<string, Tensor | undefined>>) =>
    want.flatMap((t, i) => {
      const problem = t && compareTensors(got[`o${i}`]!, t, { rtol: tol, atol: tol });
      return problem ? [`${by}, output ${i}: ${problem}`] : [];
    });
  const graph = importOnnx(bytes);
  const values = evaluate(graph, feeds);
  const evaluated = Object.fromEntries(graph.resultNames.map((name, i) => [name, values[i]]));
  const session = await load(await compile(graph, { variants: ["simd128"] }), { threads: 1 });
  const compiled = (await session.run(feeds as never)) as Record<string, Tensor>;
  session.dispose();
  const runtime = hasOnnxRuntime && check.onnxruntime !== false ? await runOnnxRuntime(bytes, feeds) : undefined;
  expect([
    ...wrong("the reference evaluator", evaluated),
    ...wrong("compiled", compiled),
    ...(runtime ? wrong("ONNX Runtime", runtime) : []),
  ]).toEqual([]);
}
