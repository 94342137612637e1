/** State of a program: what outlives runs, declared by those who need it, and made a parameter of the entries that use it. */

import { ModelError } from "../../ir/errors.js";
import { param, sameType, typeText, type Value } from "../../ir/graph.js";
import { type RegionFrame, scope } from "../../ir/scope.js";
import type { Tensor } from "../../ir/tensor.js";
import type { StateRole } from "../../runtime/format.js";
import type { ProgramState } from "../program.js";
import type { AnyModule } from "./graph.js";
import { drawOf, type Variable } from "./module.js";

/** All state of a program, in the order of declaration. */
export class StateStore {
  readonly #declared = new Map<string, ProgramState>();
  readonly #names: ReadonlyMap<Variable, string>;

  constructor(root: AnyModule) {
    const values = root.state();
    const variables = [...root.variables()];
    this.#names = new Map(variables.map(([name, v]) => [v, name]));
    for (const [name, v] of variables) this.declare(name, v.role, values.get(name)!, drawOf(values.get(name)!));
  }

  /** Variables of the modules by name. */
  nameOf(v: Variable): string | undefined {
    return this.#names.get(v);
  }

  /** Declares a state, or finds the one that is declared already. @throws ModelError where that one is something else */
  declare(name: string, role: StateRole, initial: Tensor, draw?: ProgramState["draw"]): void {
    const known = this.#declared.get(name);
    if (known === undefined) this.#declared.set(name, { name, role, tensor: initial, ...(draw ? { draw } : {}) });
    else if (known.role !== role)
      throw new ModelError({ where: name, message: "two states have this name", hint: "rename the layer" });
  }

  has(name: string): boolean {
    return this.#declared.has(name);
  }

  get(name: string): ProgramState {
    const found = this.#declared.get(name);
    if (found) return found;
    throw new ModelError({ where: name, message: "the program has no such state" });
  }

  all(): readonly ProgramState[] {
    return [...this.#declared.values()];
  }
}

/** The state as one entry sees it. Parameters are made when asked for, so that an entry has only what it uses. */
export class EntryState {
  readonly #store: StateStore;
  readonly #params = new Map<string, Value>();
  readonly #next = new Map<string, Value>();
  /** Values in branches. */
  readonly #replaced = new WeakMap<RegionFrame, Map<string, Value>>();

  constructor(store: StateStore) {
    this.#store = store;
  }

  /** When the entry begins. */
  first(name: string): Value {
    const known = this.#params.get(name);
    if (known) return known;
    const { tensor } = this.#store.get(name);
    const made = param(name, { dtype: tensor.dtype, shape: tensor.shape });
    this.#params.set(name, made);
    return made;
  }

  /** Here: after what was built before, and in a branch, that of the branch. */
  now(name: string): Value {
    return this.#nowIn(name, scope().region);
  }

  #nowIn(name: string, region: RegionFrame | undefined): Value {
    if (region === undefined) return this.#next.get(name) ?? this.first(name);
    return this.#replaced.get(region)?.get(name) ?? this.#nowIn(name, region.outer);
  }

  /** In a branch: where that is taken. */
  set(name: string, value: Value): void {
    this.#requireType(name, value);
    this.#set(name, value, scope().region);
  }

  /** Whatever way the run takes. */
  setAlways(name: string, value: Value): void {
    this.#requireType(name, value);
    this.#set(name, value, undefined);
  }

  #requireType(name: string, value: Value): void {
    const first = this.first(name);
    if (!sameType(first.type, value.type))
      throw new ModelError({
        where: name,
        message: `a state of type ${typeText(first.type)} cannot become ${typeText(value.type)}`,
      });
  }

  #set(name: string, value: Value, region: RegionFrame | undefined): void {
    if (region === undefined) {
      this.#next.set(name, value);
      return;
    }
    if (region.replace === undefined)
      throw new ModelError({
        where: name,
        message: "a state is changed inside a loop, or a function with a gradient of its own",
        hint: "carry its value through the loop, or give it as a result, and set it after that",
      });
    const before = region.outside(() => this.#nowIn(name, region.outer));
    const inside = this.#replaced.get(region) ?? new Map<string, Value>();
    this.#replaced.set(region, inside.set(name, value));
    region.replace(this.first(name), { before, next: value, after: (last) => this.#set(name, last, region.outer) });
  }

  /** Parameters in the order of declaration, and what becomes of them. */
  finish(): { readonly params: readonly Value[]; readonly next: readonly (readonly [name: string, value: Value])[] } {
    const names = this.#store.all().map((s) => s.name);
    const params = names.flatMap((name) => this.#params.get(name) ?? []);
    const next = names.flatMap((name) => {
      const value = this.#next.get(name);
      return value === undefined || value === this.#params.get(name) ? [] : [[name, value] as const];
    });
    return { params, next };
  }
}
