/**
 * What about the graph's inputs decides a value or a size: the answer to "which inputs must be known for this to be known".
 *
 * A value is decided by the sizes that it is known to hold; else by the inputs and sizes that it is computed from. What a region
 * takes from outside is decided by what it starts from there.
 */

import { type Dim, dimSymbols } from "../../ir/dim.js";
import type { Need } from "../../ir/errors.js";
import type { Value } from "../../ir/graph.js";
import { dimsOf } from "../../passes/values/index.js";

/** Where a named size of the inputs stands. */
export type SizeNeed = Extract<Need, { what: "size" }>;

const keyOf = (need: Need): string => JSON.stringify(Object.values(need));

export class Deciders {
  private readonly inputs = new Map<string, Value>();
  private readonly sizes = new Map<string, SizeNeed>();
  private readonly finders = new Map<string, Value>();
  private readonly origins = new Map<Value, readonly Value[]>();

  /** States that a value is an input of the graph. */
  input(name: string, value: Value): void {
    this.inputs.set(name, value);
  }

  /** States where a symbol of the inputs stands. */
  size(symbol: string, need: SizeNeed): void {
    this.sizes.set(symbol, need);
  }

  /** States which value finds a size in the data. */
  finder(symbol: string, value: Value): void {
    this.finders.set(symbol, value);
  }

  /** States what a parameter of a region starts from. */
  origin(parameter: Value, values: readonly Value[]): void {
    this.origins.set(parameter, values);
  }

  /** The sizes of the inputs that are not fixed, by symbol. */
  get openSizes(): ReadonlyMap<string, SizeNeed> {
    return this.sizes;
  }

  /** What decides the sizes that are found in the data. */
  ofFinders(): readonly Need[] {
    const walk = new Walk();
    for (const finder of this.finders.values()) this.found(finder, walk);
    return walk.needs();
  }

  ofDims(dims: readonly Dim[]): readonly Need[] {
    const walk = new Walk();
    for (const d of dims) this.dim(d, walk);
    return walk.needs();
  }

  ofValue(value: Value): readonly Need[] {
    const walk = new Walk();
    this.value(value, walk);
    // It is computed from shapes alone, in a way that is not followed.
    if (walk.isEmpty) for (const v of [...walk.seen]) for (const d of v.type.shape) this.dim(d, walk);
    return walk.needs();
  }

  /** What decides the sizes of the values. */
  ofShapes(values: readonly Value[]): readonly Need[] {
    return this.ofDims(values.flatMap((v) => v.type.shape));
  }

  private dim(d: Dim, walk: Walk): void {
    for (const { name } of dimSymbols(d).values()) {
      if (walk.symbols.has(name)) continue;
      walk.symbols.add(name);
      const size = this.sizes.get(name);
      const finder = this.finders.get(name);
      if (size) walk.add(size);
      else if (finder) this.found(finder, walk);
    }
  }

  /** What decides the size that a value finds. */
  private found(finder: Value, walk: Walk): void {
    const { def } = finder;
    for (const v of def.op === "param" ? [finder] : def.operands) this.value(v, walk);
  }

  private value(root: Value, walk: Walk): void {
    const stack = [root];
    while (stack.length > 0) {
      const v = stack.pop()!;
      if (walk.seen.has(v)) continue;
      walk.seen.add(v);
      const { def } = v;
      if (def.op === "param") {
        if (this.inputs.get(def.name) === v) walk.add({ input: def.name, what: "value" });
        stack.push(...(this.origins.get(v) ?? []));
        continue;
      }
      const known = dimsOf(v);
      if (known?.every((d) => d !== undefined)) for (const d of known as readonly Dim[]) this.dim(d, walk);
      else if (def.op === "dimSize") this.dim(def.attrs.size, walk);
      else {
        stack.push(...def.operands);
        if (def.operands.length === 0 && def.op !== "constant") for (const d of v.type.shape) this.dim(d, walk);
      }
    }
  }
}

class Walk {
  readonly seen = new Set<Value>();
  readonly symbols = new Set<string>();
  private readonly found = new Map<string, Need>();

  add(need: Need): void {
    this.found.set(keyOf(need), need);
  }

  get isEmpty(): boolean {
    return this.found.size === 0;
  }

  needs(): readonly Need[] {
    return [...this.found.values()];
  }
}
