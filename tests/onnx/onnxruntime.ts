/** ONNX Runtime for the web, from bench/node_modules: another reader of what exportOnnx writes. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Tensor } from "../../ir/tensor.js";

const folder = fileURLToPath(new URL("../../bench/node_modules/onnxruntime-web/", import.meta.url));

export const hasOnnxRuntime = existsSync(folder);
/** Said where tests skip. */
export const howToGetIt = hasOnnxRuntime ? "" : " (skipped: run npm ci --prefix bench --ignore-scripts)";

interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: Tensor["data"];
}

interface Ort {
  readonly env: { readonly wasm: { numThreads: number }; logLevel: string };
  readonly Tensor: new (type: string, data: Tensor["data"], dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    create(
      bytes: Uint8Array,
      options: object,
    ): Promise<{
      run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
      release(): Promise<void>;
    }>;
  };
}

const types: Readonly<Record<string, string>> = {
  f32: "float32",
  f64: "float64",
  i64: "int64",
  i32: "int32",
  i16: "int16",
  i8: "int8",
  u64: "uint64",
  u32: "uint32",
  u16: "uint16",
  u8: "uint8",
  bool: "bool",
};
const dtypes: Readonly<Record<string, string>> = Object.fromEntries(Object.entries(types).map(([d, t]) => [t, d]));

/** Outputs of a model. */
export async function runOnnxRuntime(
  bytes: Uint8Array,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<Record<string, Tensor>> {
  const { exports } = JSON.parse(readFileSync(`${folder}package.json`, "utf8")) as {
    exports: { ".": { node: { import: string } } };
  };
  const entry = pathToFileURL(`${folder}${exports["."].node.import}`).href;
  const ort = (await import(/* @vite-ignore */ entry)) as Ort;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  try {
    const made = Object.entries(feeds).map(
      ([name, t]) => [name, new ort.Tensor(types[t.dtype]!, t.data, t.shape)] as const,
    );
    const results = await session.run(Object.fromEntries(made));
    return Object.fromEntries(
      Object.entries(results).map(([name, t]) => [
        name,
        { dtype: dtypes[t.type] as Tensor["dtype"], shape: t.dims, data: t.data },
      ]),
    );
  } finally {
    await session.release();
  }
}
