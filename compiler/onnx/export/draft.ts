/** An ONNX model in the making: nodes refer to values by object, names are given when it is serialised. */

import type { DType } from "../../../ir/dtype.js";
import type { TensorType } from "../../../ir/graph.js";
import type { Tensor } from "../../../ir/tensor.js";
import { codeOfDType } from "../dtype.js";

/** A value of the ONNX graph. */
export interface Ref {
  /** What a name is made of where none is fixed. */
  readonly hint: string;
  /** The name that it must have: of an input, an output or a weight. */
  fixed?: string;
}

export type AttrDraft =
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "ints"; readonly value: readonly number[] }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "tensor"; readonly value: Tensor }
  | { readonly kind: "graph"; readonly value: GraphDraft };

export type AttrDrafts = Readonly<Record<string, AttrDraft>>;

export interface NodeDraft {
  readonly op: string;
  /** Absent ones in between are undefined. */
  readonly inputs: readonly (Ref | undefined)[];
  readonly outputs: readonly Ref[];
  readonly attrs: AttrDrafts;
  /** The user's own name of the layer. */
  readonly loc: string | undefined;
}

export interface TypedRef {
  readonly ref: Ref;
  readonly type: TensorType;
}

export interface GraphDraft {
  readonly name: string;
  readonly inputs: readonly TypedRef[];
  readonly outputs: readonly TypedRef[];
  readonly nodes: readonly NodeDraft[];
}

export const int = (value: number): AttrDraft => ({ kind: "int", value });
export const flag = (value: boolean): AttrDraft => int(value ? 1 : 0);
export const float = (value: number): AttrDraft => ({ kind: "float", value });
export const string = (value: string): AttrDraft => ({ kind: "string", value });
export const ints = (value: readonly number[]): AttrDraft => ({ kind: "ints", value });
export const strings = (value: readonly string[]): AttrDraft => ({ kind: "strings", value });
export const tensorAttr = (value: Tensor): AttrDraft => ({ kind: "tensor", value });
export const subgraph = (value: GraphDraft): AttrDraft => ({ kind: "graph", value });
/** ONNX's code of a dtype. */
export const typeCode = (dtype: DType): AttrDraft => int(codeOfDType(dtype));
