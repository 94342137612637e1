/** What a benchmark model is: an ONNX file that is made on the spot, always the same, and what it is fed. */

import { exportOnnx, type nn, type Tensor, tensorFrom, toGraph } from "wasmith";
import { randomOf } from "../../compiler/dsl/random.js";
import { decodeModel, encodeModel } from "../../compiler/onnx/protobuf.js";
import { storeTransposed } from "./onnx-edit.js";

/** Repeatable values: floats in [−1, 1), integers from 0 up to a bound, or ones. */
export interface Feed {
  readonly dtype: "f32" | "i64";
  readonly shape: readonly number[];
  /** Integers below this; 0 stands for ones. */
  readonly below?: number;
}

/** Which list of results a model stands in. */
export type Group = "models" | "quantized" | "stacks" | "kernels";

export interface BenchModel {
  readonly name: string;
  readonly group: Group;
  /** Largest ‖got − want‖ / ‖want‖ by which an engine may differ from onnxruntime's native build. */
  readonly tolerance: number;
  /** Takes long to make and to compile: left out where time is short. */
  readonly large: boolean;
  readonly feeds: Readonly<Record<string, Feed>>;
  /** Tokens that a decoder's caches have room for in wasmith's session (`withCache`); other engines are fed them. */
  readonly cache?: number;
  readonly onnx: () => Promise<Uint8Array>;
}

const seed = 2026;

/** The tensors that a model is fed, by name. */
export function feedsOf({ feeds }: Pick<BenchModel, "feeds">): Readonly<Record<string, Tensor>> {
  return Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, shape, below = 0 }]) => {
      const random = randomOf(seed, name);
      const next =
        dtype === "f32"
          ? () => 2 * random.uniform() - 1
          : below === 0
            ? () => 1
            : () => Math.floor(below * random.uniform());
      const length = shape.reduce((n, d) => n * d, 1);
      return [name, tensorFrom(dtype, shape, Array.from({ length }, next))];
    }),
  );
}

export type AnyModel = nn.Module<never, unknown>;

/** The options of `toGraph` where sizes are others than those of the feeds. */
export interface Exporting {
  readonly inputs?: Readonly<
    Record<string, { readonly dtype: Feed["dtype"]; readonly shape: readonly (number | string)[] }>
  >;
}

/** A module of the DSL with seeded weights as a file, its constant weights lying as exporters write them. */
export function exported(
  name: string,
  make: () => AnyModel,
  feeds: BenchModel["feeds"],
  { inputs }: Exporting = {},
): Uint8Array {
  const graph = toGraph(make().initialize(seed), { name, inputs: inputs ?? feeds });
  const model = decodeModel(exportOnnx(graph));
  storeTransposed(model.graph!);
  return encodeModel(model);
}
