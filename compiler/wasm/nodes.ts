/**
 * Expressions and statements of WebAssembly under construction: trees whose leaves come first in execution. Unlike its instructions, whose
 * operands lie on a stack, they can be put together in any order. A node has one parent at most.
 */

import type { Instruction, WasmType } from "./instructions.js";

/** What a node leaves on the stack; `never` where execution does not go on behind it. */
export type NodeType = WasmType | "none" | "never";

interface Typed {
  readonly type: NodeType;
}

export interface Operation extends Typed {
  readonly kind: "operation";
  readonly instruction: Instruction;
  readonly operands: readonly Node[];
  /** In bytes; of loads and stores. */
  readonly offset: number;
  readonly align: number;
  /** Of instructions that choose lanes. */
  readonly lanes: readonly number[];
}

export type Constant =
  | (Typed & { readonly kind: "const"; readonly type: "i32" | "f32" | "f64"; readonly value: number })
  | (Typed & { readonly kind: "const"; readonly type: "i64"; readonly value: bigint })
  | (Typed & { readonly kind: "const"; readonly type: "v128"; readonly value: Uint8Array });

export type Node =
  | Operation
  | Constant
  | (Typed & { readonly kind: "local.get"; readonly local: number })
  | (Typed & { readonly kind: "local.set" | "local.tee"; readonly local: number; readonly value: Node })
  | (Typed & { readonly kind: "global.get"; readonly global: number })
  | (Typed & { readonly kind: "global.set"; readonly global: number; readonly value: Node })
  /** One after the other; only the last may leave a value. */
  | (Typed & { readonly kind: "sequence"; readonly body: readonly Node[] })
  /** `br` and `br_if` to the label go back to the beginning. */
  | (Typed & { readonly kind: "loop"; readonly label: string; readonly body: Node })
  | (Typed & { readonly kind: "if"; readonly cond: Node; readonly then: Node; readonly otherwise: Node | undefined })
  | (Typed & { readonly kind: "br"; readonly label: string; readonly cond: Node | undefined })
  | (Typed & { readonly kind: "return"; readonly value: Node | undefined })
  | (Typed & { readonly kind: "select"; readonly a: Node; readonly b: Node; readonly cond: Node })
  | (Typed & { readonly kind: "call"; readonly name: string; readonly args: readonly Node[] })
  | (Typed & { readonly kind: "drop"; readonly value: Node })
  | (Typed & { readonly kind: "unreachable" });

/** A node as those who build code hold it. */
export type Ref = Node;
