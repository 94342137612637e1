/** What the tables of PyTorch expressions are made of. */

import { asType } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { constant } from "../../../ir/ops/constant.js";
import { gather } from "../../../ir/ops/indexing.js";
import { tensorFrom } from "../../../ir/tensor.js";

export type Inputs = Readonly<Record<string, Value>>;
export type Attributes = Readonly<Record<string, unknown>>;
/** Builds the outputs of one expression from its named inputs. */
export type Builder = (inputs: Inputs, attributes: Attributes) => Value | readonly Value[];
export type Builders = Readonly<Record<string, Builder>>;

/** An i64 vector. */
export const indexVector = (values: readonly number[]): Value =>
  constant([], { value: tensorFrom("i64", [values.length], values) });

/** Entries of one axis at known places. */
export const take = (x: Value, axis: number, places: readonly number[]): Value =>
  gather([x, indexVector(places)], { axis });

/** The sizes of a shape that is known. */
export const sizes = (x: Value): readonly number[] => x.type.shape as readonly number[];

export const iotaList = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

export const i64 = (x: Value): Value => asType(x, "i64");
