/** What a row of the export tables is. */

import type { NodeOf } from "../../../../ir/graph.js";
import type { AttrsOf, OpName } from "../../../../ir/ops/index.js";
import type { Ref } from "../draft.js";
import type { Emitter } from "../emitter.js";

/** A node of the op, with its attributes. */
export type Node<N extends OpName> = NodeOf<N, AttrsOf<N>>;

/** Emits ONNX nodes that compute the op's results, and gives these in order. Throws ModelError for what ONNX can't express. */
export type Row<N extends OpName> = (e: Emitter, node: Node<N>) => Ref | readonly Ref[];

/** `decompose`: a composite that is written as its definition. */
export type Rows<N extends OpName> = { readonly [K in N]: Row<K> | "decompose" };

/** A family's part of the table, which is total as a whole: see index.ts. */
export type SomeRows = Partial<Rows<OpName>>;
