/** What emission of one function carries around: the module, the locals in scope, and which helpers are needed. */

import { InternalError } from "../../ir/errors.js";
import type { EngineFact, HostFn, LoopType, MathFn } from "../../ir/loop.js";
import type { Direction } from "./half.js";
import type { Ref, Variant, WasmModule, WasmType } from "./module.js";
import { wasmType } from "./opcodes.js";

/** A value in a wasm local. */
export interface Local {
  readonly index: number;
  readonly type: LoopType;
}

/** A helper function wanted by emitted code; emit.ts generates and emits it once per module. */
export type Helper =
  | {
      readonly kind: "half";
      readonly format: "f16" | "bf16";
      readonly lanes: "f32" | "f32x4";
      readonly direction: Direction;
    }
  | { readonly kind: "math"; readonly fn: MathFn; readonly type: LoopType }
  | { readonly kind: "host"; readonly fn: HostFn }
  | { readonly kind: "engine"; readonly fact: EngineFact }
  | { readonly kind: "barrier" };

export class FunctionContext {
  readonly module: WasmModule;
  readonly variant: Variant;
  /** Declares that a helper is called; returns its function's name. */
  readonly need: (helper: Helper) => string;
  #scope = new Map<string, Local>();
  readonly #params: number;
  readonly #types: WasmType[] = [];
  readonly #free = new Map<WasmType, number[]>();
  #labels = 0;

  constructor(
    module: WasmModule,
    variant: Variant,
    params: readonly { readonly name: string; readonly type: LoopType }[],
    need: (helper: Helper) => string,
  ) {
    this.module = module;
    this.variant = variant;
    this.need = need;
    this.#params = params.length;
    for (const [index, p] of params.entries()) this.#scope.set(p.name, { index, type: p.type });
  }

  /** Types of the locals beyond the parameters. */
  get locals(): readonly WasmType[] {
    return this.#types;
  }

  /** A local of the type that no live value occupies. */
  allocate(type: LoopType): Local {
    const wasm = wasmType[type];
    const free = this.#free.get(wasm)?.pop();
    if (free !== undefined) return { index: free, type };
    this.#types.push(wasm);
    return { index: this.#params + this.#types.length - 1, type };
  }

  /** Gives a local back; its value is dead from here on. */
  release(local: Local): void {
    const wasm = wasmType[local.type];
    const list = this.#free.get(wasm);
    if (list === undefined) this.#free.set(wasm, [local.index]);
    else list.push(local.index);
  }

  bind(name: string, type: LoopType): Local {
    const local = this.allocate(type);
    this.#scope.set(name, local);
    return local;
  }

  lookUp(name: string): Local {
    const local = this.#scope.get(name);
    if (local === undefined) throw new InternalError(`%${name} is not bound while emitting`);
    return local;
  }

  /** Runs `body` in an inner scope, whose locals are free again afterwards. */
  scoped<T>(body: () => T): T {
    const before = new Set(this.#scope.keys());
    const result = body();
    for (const [name, local] of [...this.#scope])
      if (!before.has(name)) {
        this.#scope.delete(name);
        this.release(local);
      }
    return result;
  }

  /** Runs `body` in a scope of its own, without the names of outside: the place of a function expanded here. */
  isolated<T>(body: () => T): T {
    const outer = this.#scope;
    this.#scope = new Map();
    try {
      return this.scoped(body);
    } finally {
      this.#scope = outer;
    }
  }

  label(hint: string): string {
    this.#labels++;
    return `${hint}${this.#labels}`;
  }

  get(local: Local): Ref {
    return this.module.get(local.index, wasmType[local.type]);
  }

  set(local: Local, value: Ref): Ref {
    return this.module.set(local.index, value);
  }

  tee(local: Local, value: Ref): Ref {
    return this.module.tee(local.index, value, wasmType[local.type]);
  }
}
