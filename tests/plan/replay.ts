/**
 * Replays a schedule on symbols: every buffer holds an expression that says which steps made it of what. With a buffer's memory
 * apart from all others these expressions are what the schedule means; in the memory that the planner chose they must come out the
 * same. A value that was overwritten while it was needed does not.
 */

import type { Arena } from "../../compiler/plan/arena.js";
import { bufferBytes } from "../../compiler/plan/liveness.js";
import { unknownSymbols } from "../../compiler/plan/reads.js";
import {
  type Buffer,
  type CopyStep,
  isView,
  type KernelStep,
  type Schedule,
  type Step,
  type View,
} from "../../compiler/schedule.js";
import { type Dim, dimSubstitute, dimText } from "../../ir/dim.js";
import { productOf } from "../../ir/ops/movement.js";
import { alignment } from "../../runtime/format.js";

type Symbol = number;

const symbols = new Map<string, Symbol>();

/** Equal expressions are equal numbers. */
function symbol(...parts: readonly (string | number)[]): Symbol {
  const key = parts.join(" ");
  const known = symbols.get(key) ?? symbols.size;
  symbols.set(key, known);
  return known;
}

let wrecks = 0;
/** What nobody knows: equal to nothing. */
const unknown = (): Symbol => symbol("unknown", wrecks++);

interface Memory {
  read(b: Buffer): Symbol;
  write(b: Buffer, value: Symbol): void;
  /** Whether two places have bytes in common. */
  overlap(a: Buffer, b: Buffer): boolean;
  scratchOverlaps(step: KernelStep, b: Buffer): boolean;
  snapshot(): unknown;
  restore(snapshot: unknown): void;
  /** Joins what is here with what the other branch left. */
  join(condition: Symbol, other: unknown): void;
}

const joined = (condition: Symbol, a: Symbol, b: Symbol) => (a === b ? a : symbol("either", condition, a, b));

class Apart implements Memory {
  #values = new Map<Buffer, Symbol>();
  readonly #sizeOf: (d: Dim) => number;

  constructor(sizeOf: (d: Dim) => number) {
    this.#sizeOf = sizeOf;
  }

  read(b: Buffer): Symbol {
    if (this.#sizeOf(bufferBytes(b)) === 0) return symbol("empty");
    const known = this.#values.get(b) ?? initial(b);
    this.#values.set(b, known);
    return known;
  }
  write(b: Buffer, value: Symbol): void {
    this.#values.set(b, value);
  }
  overlap(a: Buffer, b: Buffer): boolean {
    return a === b;
  }
  scratchOverlaps(): boolean {
    return false;
  }
  snapshot(): unknown {
    return new Map(this.#values);
  }
  restore(snapshot: unknown): void {
    this.#values = new Map(snapshot as Map<Buffer, Symbol>);
  }
  join(condition: Symbol, other: unknown): void {
    const then = other as Map<Buffer, Symbol>;
    const valueIn = (values: ReadonlyMap<Buffer, Symbol>, b: Buffer) => values.get(b) ?? initial(b);
    for (const b of new Set([...then.keys(), ...this.#values.keys()]))
      this.#values.set(b, joined(condition, valueIn(then, b), valueIn(this.#values, b)));
  }
}

function initial(b: Buffer): Symbol {
  return "name" in b.source || b.source.kind === "weight" ? symbol(b.source.kind, b.id) : unknown();
}

interface Block {
  readonly owner: Buffer;
  readonly at: number;
  readonly value: Symbol;
}

class Placed implements Memory {
  readonly #arena: Arena;
  readonly #sizeOf: (d: Dim) => number;
  readonly #fixed: Apart;
  #blocks = new Map<number, Block>();

  constructor(schedule: Schedule, arena: Arena, sizeOf: (d: Dim) => number) {
    this.#arena = arena;
    this.#sizeOf = sizeOf;
    this.#fixed = new Apart(sizeOf);
    for (const i of schedule.inputs) this.write(i.view.buffer, initial(i.view.buffer));
  }

  #range(b: Buffer): readonly [number, number] | undefined {
    const offset = this.#arena.offsets.get(b);
    return offset === undefined ? undefined : this.#span(offset, bufferBytes(b));
  }
  #span(offset: Dim, bytes: Dim): readonly [number, number] {
    const from = this.#sizeOf(offset) / alignment;
    return [from, from + Math.ceil(this.#sizeOf(bytes) / alignment)];
  }
  read(b: Buffer): Symbol {
    const range = this.#range(b);
    if (range === undefined) return this.#fixed.read(b);
    const [from, to] = range;
    if (from === to) return symbol("empty");
    const value = this.#blocks.get(from)?.value;
    for (let k = from; k < to; k++) {
      const block = this.#blocks.get(k);
      if (block?.owner !== b || block.at !== k - from || block.value !== value) return unknown();
    }
    return value!;
  }
  write(b: Buffer, value: Symbol): void {
    const range = this.#range(b);
    if (range === undefined) {
      this.#fixed.write(b, value);
      return;
    }
    for (let k = range[0]; k < range[1]; k++) this.#blocks.set(k, { owner: b, at: k - range[0], value });
  }
  overlap(a: Buffer, b: Buffer): boolean {
    const [x, y] = [this.#range(a), this.#range(b)];
    if (x === undefined || y === undefined) return a === b;
    return x[0] < y[1] && y[0] < x[1];
  }
  scratchOverlaps(step: KernelStep, b: Buffer): boolean {
    const own = this.#range(b);
    return step.args.some((a) => {
      const place = a.kind === "scratch" ? this.#arena.scratch.get(a) : undefined;
      if (place === undefined || own === undefined) return false;
      const [from, to] = this.#span(place.offset, place.bytes);
      return from < own[1] && own[0] < to;
    });
  }
  snapshot(): unknown {
    return { blocks: new Map(this.#blocks), fixed: this.#fixed.snapshot() };
  }
  restore(snapshot: unknown): void {
    const { blocks, fixed } = snapshot as { blocks: Map<number, Block>; fixed: unknown };
    this.#blocks = new Map(blocks);
    this.#fixed.restore(fixed);
  }
  join(condition: Symbol, other: unknown): void {
    const { blocks, fixed } = other as { blocks: Map<number, Block>; fixed: unknown };
    this.#fixed.join(condition, fixed);
    const merged = new Map<number, Block>();
    for (const [k, a] of blocks) {
      const b = this.#blocks.get(k);
      if (b !== undefined && a.owner === b.owner && a.at === b.at)
        merged.set(k, { ...a, value: joined(condition, a.value, b.value) });
    }
    this.#blocks = merged;
  }
}

class Replay {
  readonly #memory: Memory;
  readonly #sizeOf: (d: Dim) => number;
  /** Stores that are the first to their buffer, in order of text: what was there before means nothing. */
  readonly #first: ReadonlySet<string>;
  /** What control flow has looked at. */
  readonly observed: Symbol[] = [];

  constructor(memory: Memory, sizeOf: (d: Dim) => number, first: ReadonlySet<string>) {
    this.#memory = memory;
    this.#sizeOf = sizeOf;
    this.#first = first;
  }

  run(steps: readonly Step[], path: string, round = ""): void {
    steps.forEach((step, i) => {
      this.#step(step, `${path}.${i}`, round);
    });
  }

  #step(step: Step, key: string, round: string): void {
    const memory = this.#memory;
    switch (step.kind) {
      case "kernel":
        this.#kernel(step, key, round);
        return;
      case "check":
        return;
      case "copy":
        memory.write(step.to.buffer, this.copied(step, key, round));
        return;
      case "if": {
        const condition = memory.read(step.condition.buffer);
        this.observed.push(condition);
        const before = memory.snapshot();
        this.run(step.then, `${key}.then`, round);
        const then = memory.snapshot();
        memory.restore(before);
        this.run(step.else, `${key}.else`, round);
        memory.join(condition, then);
        return;
      }
      case "once":
        this.run(step.body, `${key}.body`, round);
        return;
      case "for":
        if (isView(step.count)) this.observed.push(memory.read(step.count.buffer));
        for (const k of [0, 1, 2]) {
          if (step.condition) this.observed.push(memory.read(step.condition.buffer));
          this.run(step.body, `${key}.body`, `${round}/${k}`);
        }
    }
  }

  #kernel(step: KernelStep, key: string, round: string): void {
    const memory = this.#memory;
    const views = step.args.flatMap((a, i) => (a.kind === "view" ? [{ ...a, i }] : []));
    const isFirst = (i: number) => this.#first.has(`${key} ${i}`);
    const inputs = views.flatMap((v) =>
      v.access === "write" || isFirst(v.i) ? [] : [memory.read(v.view.buffer), dimText(v.view.offset)],
    );
    const results = views.flatMap((w) => {
      if (w.access === "read") return [];
      const { buffer } = w.view;
      const isWrecked =
        memory.scratchOverlaps(step, buffer) ||
        views.some(
          (v) =>
            v.i !== w.i &&
            memory.overlap(v.view.buffer, buffer) &&
            (v.access !== "read" || !step.inPlace.some(([to, from]) => to === w.i && from === v.i)),
        );
      const old = isFirst(w.i) ? "new" : memory.read(buffer);
      return [[buffer, isWrecked ? unknown() : symbol(key, round, w.i, old, ...inputs)] as const];
    });
    for (const [b, value] of results) memory.write(b, value);
  }

  /** A whole value copied is that value. */
  copied(step: CopyStep, key: string, round: string): Symbol {
    const { from, to } = step;
    const value = this.part(from, step.count);
    const isWhole = to.offset === 0 && this.#sizeOf(step.count) === this.#sizeOf(productOf(to.buffer.shape));
    if (isWhole) return value;
    const old = this.#first.has(`${key} to`) ? "new" : this.#memory.read(to.buffer);
    return symbol("insert", key, round, value, old);
  }

  part({ buffer, offset }: View, count: Dim): Symbol {
    const value = this.#memory.read(buffer);
    const isWhole = offset === 0 && this.#sizeOf(count) === this.#sizeOf(productOf(buffer.shape));
    return isWhole ? value : symbol("part", value, dimText(offset), dimText(count));
  }
}

function firstStores(steps: readonly Step[]): ReadonlySet<string> {
  const first = new Set<string>();
  const written = new Set<Buffer>();
  const store = (b: Buffer, key: string) => {
    if (!written.has(b) && (b.source.kind === "temp" || b.source.kind === "prepared")) first.add(key);
    written.add(b);
  };
  const walk = (list: readonly Step[], path: string): void => {
    list.forEach((s, i) => {
      const key = `${path}.${i}`;
      if (s.kind === "kernel") {
        s.args.forEach((a, k) => {
          if (a.kind === "view" && a.access !== "read") store(a.view.buffer, `${key} ${k}`);
        });
      } else if (s.kind === "copy") store(s.to.buffer, `${key} to`);
      else if (s.kind === "for" || s.kind === "once") walk(s.body, `${key}.body`);
      else if (s.kind === "if") {
        walk(s.then, `${key}.then`);
        walk(s.else, `${key}.else`);
      }
    });
  };
  walk(steps, "");
  return first;
}

/** What the plan of a schedule destroys, if anything, where the sizes are these. */
export function lostValue(
  lowered: Schedule,
  placed: Schedule,
  arena: Arena,
  sizes: ReadonlyMap<string, number>,
): string | undefined {
  const found = new Map<string, number>();
  // Counters of loops are 0: addresses inside a buffer do not matter here. Sizes that the run finds are at their bounds.
  const sizeOf = (d: Dim): number => {
    const value = dimSubstitute(
      d,
      (s) => sizes.get(s.name) ?? found.get(s.name) ?? (s.bound === undefined ? 0 : sizeOf(s.bound)),
    );
    if (typeof value !== "number") throw new Error(`no size for ${dimText(d)}`);
    return value;
  };
  for (const d of unknownSymbols(lowered)) found.set(dimText(d), sizeOf(d));
  for (const { symbol, begin } of arena.stages) found.set(symbol, sizeOf(begin));
  const first = firstStores(lowered.steps);
  const meant = new Replay(new Apart(sizeOf), sizeOf, first);
  meant.run(lowered.steps, "");
  const memory = new Placed(placed, arena, sizeOf);
  const got = new Replay(memory, sizeOf, first);
  got.run(placed.steps, "");
  const seen = meant.observed.findIndex((s, i) => s !== got.observed[i]);
  if (seen >= 0) return `look ${seen} of control flow`;
  const isEmpty = (b: Buffer) => sizeOf(productOf(b.shape)) === 0;
  for (const [i, o] of lowered.outputs.entries()) {
    if (isEmpty(o.view.buffer)) continue;
    const count = productOf(o.shape);
    if (meant.part(o.view, count) !== got.part(placed.outputs[i]!.view, count)) return `output ${o.name}`;
  }
  for (const { state, value } of lowered.stateResults) {
    if (isEmpty(state)) continue;
    if (meant.part(value, productOf(state.shape)) !== memory.read(state)) return `state #${state.id}`;
  }
  return undefined;
}
