/**
 * Turns a placed schedule into the two exported functions of an entry (see runtime/format.ts): `plan_E`, which evaluates all
 * sizes and offsets into the table, and `run_E`, which makes the calls. Both are plain Loop IR.
 */

import { type Dim, dimAdd, dimMul, dimSymbols, dimUpperBound } from "../../ir/dim.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { InternalError } from "../../ir/errors.js";
import type { Expr, LoopFunction, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import { productOf } from "../../ir/ops/movement.js";
import { planOverflow } from "../../runtime/format.js";
import type { Arg, Buffer, KernelStep, Schedule, Step, View } from "../schedule.js";
import { type Arena, alignUp } from "./arena.js";
import { Hazards } from "./hazards.js";
import { usesOf } from "./liveness.js";
import type { EntryTable } from "./table.js";

/** Byte addresses of what lies outside the arena, and the arena itself. */
export interface Placement {
  readonly fixed: ReadonlyMap<Buffer, number>;
  readonly arena: Arena;
  readonly arenaOffset: number;
}

/** Steps per run function: engines compile function by function, and a huge one compiles late. */
const stepsPerFunction = 32;

export class EntryEmitter {
  readonly #schedule: Schedule;
  readonly #placement: Placement;
  readonly #table: EntryTable;
  /** The name a kernel goes by in the module. */
  readonly #nameOf: (fn: LoopFunction) => string;
  readonly #tid: Expr;
  readonly #threads: Expr;

  constructor(schedule: Schedule, placement: Placement, table: EntryTable, nameOf: (fn: LoopFunction) => string) {
    this.#schedule = schedule;
    this.#placement = placement;
    this.#table = table;
    this.#nameOf = nameOf;
    this.#tid = b.v("tid", "i32");
    this.#threads = b.v("threads", "i32");
  }

  /** Byte address of a buffer's start, as an expression of the dims. */
  address(buffer: Buffer): Dim {
    const fixed = this.#placement.fixed.get(buffer);
    if (fixed !== undefined) return fixed;
    const offset = this.#placement.arena.offsets.get(buffer);
    if (offset === undefined) throw new InternalError(`buffer ${buffer.id} has no place`);
    return dimAdd(offset, this.#placement.arenaOffset);
  }

  viewAddress(view: View): Dim {
    return dimAdd(this.address(view.buffer), dimMul(view.offset, dtypeInfo[view.buffer.dtype].bytes));
  }

  /** run_E and its parts. Call before `plan`, which needs to know all slots. */
  run(): readonly LoopFunction[] {
    const name = this.#schedule.name;
    const params = [
      { name: "tid", type: "i32" },
      { name: "threads", type: "i32" },
      { name: "begin", type: "i32" },
      { name: "end", type: "i32" },
    ] as const;
    const begin = b.v("begin", "i32");
    const end = b.v("end", "i32");
    const hazards = this.#hazards();
    const groups: LoopFunction[] = [];
    const steps = this.#schedule.steps;
    for (let first = 0; first < steps.length; first += stepsPerFunction) {
      const body = steps.slice(first, first + stepsPerFunction).map((step, i): Stmt => {
        const inside = b.and(b.leS(begin, b.i32(first + i)), b.ltS(b.i32(first + i), end));
        return b.ifThen(inside, this.#step(step, hazards));
      });
      groups.push({ name: `run_${name}_${first / stepsPerFunction}`, params, body });
    }
    const calls = groups.map((g): Stmt => ({ kind: "call", fn: g.name, args: [this.#tid, this.#threads, begin, end] }));
    return [...groups, { name: `run_${name}`, params, body: calls }];
  }

  /** plan_E. */
  plan(): LoopFunction {
    const total = dimAdd(this.#placement.arena.bytes, this.#placement.arenaOffset);
    const statements: Stmt[] = [];
    const largest = b.v("largest", "f64");
    statements.push(b.mut("largest", this.#table.inDoubles(total)));
    // Sizes that data decides start at their bounds.
    for (const symbol of this.unknownSymbols()) {
      const slot = this.#table.address(this.#table.slot(symbol));
      statements.push(
        b.store("i32", b.i32(slot), b.i32(0), b.convert("i32.from_f64S", this.#table.inDoubles(dimUpperBound(symbol)))),
      );
    }
    this.#table.derived().forEach(({ slot, value }, i) => {
      statements.push(
        ...b.letIn(`d${i}`, this.#table.inDoubles(value), (x) => [
          b.store("i32", b.i32(this.#table.address(slot)), b.i32(0), b.convert("i32.from_f64U", x)),
          b.assign(largest, b.max(largest, x)),
        ]),
      );
    });
    statements.push(
      b.ifThen(b.ge(largest, b.f64(planOverflow)), [{ kind: "return", value: b.i32(planOverflow | 0) }]),
      { kind: "return", value: b.convert("i32.from_f64U", this.#table.inDoubles(total)) },
    );
    return { name: `plan_${this.#schedule.name}`, params: [], result: "i32", body: statements };
  }

  /** Data-dependent symbols that a kernel of this entry writes, as dims. */
  unknownSymbols(): readonly Dim[] {
    const found = new Map<string, Dim>();
    const visit = (d: Dim) => {
      for (const s of dimSymbols(d).values()) {
        if (s.bound !== undefined)
          found.set(s.name, { kind: "dim", constant: 0, terms: [{ coefficient: 1, atoms: [s] }], key: s.name });
      }
    };
    const walk = (steps: readonly Step[]): void => {
      for (const s of steps) {
        for (const u of usesOf(s)) for (const d of u.view.buffer.shape) visit(d);
        if (s.kind === "kernel") for (const a of s.args) if (a.kind === "dim") visit(a.value);
        if (s.kind === "if") {
          walk(s.then);
          walk(s.else);
        } else if (s.kind === "while") walk(s.body);
      }
    };
    walk(this.#schedule.steps);
    for (const o of this.#schedule.outputs) for (const d of o.shape) visit(d);
    return [...found.values()];
  }

  #hazards(): Hazards {
    return new Hazards(this.#placement, (buffer) => this.address(buffer));
  }

  #step(step: Step, hazards: Hazards): readonly Stmt[] {
    const barrier: Stmt = { kind: "barrier", threads: this.#threads };
    switch (step.kind) {
      case "kernel":
        return [...(hazards.before(step) ? [barrier] : []), ...this.#kernel(step)];
      case "copy": {
        const bytes = dimMul(productOf(step.from.buffer.shape), dtypeInfo[step.from.buffer.dtype].bytes);
        const copy: Stmt = {
          kind: "copy",
          dst: this.#table.read(this.viewAddress(step.to)),
          src: this.#table.read(this.viewAddress(step.from)),
          bytes: this.#table.read(bytes),
        };
        return [...(hazards.before(step) ? [barrier] : []), b.ifThen(b.eq(this.#tid, b.i32(0)), [copy])];
      }
      case "if": {
        const condition = b.ne(
          b.load("i32", "u8", this.#table.read(this.viewAddress(step.condition)), b.i32(0)),
          b.i32(0),
        );
        const branch = (steps: readonly Step[]) => {
          const inner = this.#hazards();
          return steps.flatMap((s) => this.#step(s, inner));
        };
        // All threads must have read the condition before anyone may overwrite it, and all must see its writer's store.
        hazards.clear();
        return [barrier, b.ifThen(condition, branch(step.then), branch(step.else)), barrier];
      }
      case "while": {
        const condition = b.ne(
          b.load("i32", "u8", this.#table.read(this.viewAddress(step.condition)), b.i32(0)),
          b.i32(0),
        );
        const inner = this.#hazards();
        const body = step.body.flatMap((s) => this.#step(s, inner));
        hazards.clear();
        // One barrier makes the body's stores visible, the next keeps a fast thread from changing the condition too soon.
        return [barrier, b.whileLoop(condition, [barrier, ...body, barrier])];
      }
    }
  }

  #kernel(step: KernelStep): readonly Stmt[] {
    const args = step.args.map((a) => this.#arg(a));
    const fn = this.#nameOf(step.fn);
    const written = step.args.flatMap((a) => (a.kind === "sizeSlot" ? [a.symbol] : []));
    const call: Stmt[] = [];
    if (step.chunks === undefined) {
      call.push(
        b.ifThen(b.eq(this.#tid, b.i32(0)), [{ kind: "call", fn, args }, ...this.#table.refresh(new Set(written))]),
      );
    } else {
      const chunks = this.#table.read(step.chunks);
      const begin = b.divU(b.mul(chunks, this.#tid), this.#threads);
      const end = b.divU(b.mul(chunks, b.add(this.#tid, b.i32(1))), this.#threads);
      call.push({ kind: "call", fn, args: [begin, end, ...args] });
      if (written.length > 0) throw new InternalError(`${step.fn.name} finds a size but runs in chunks`);
    }
    // Later address arithmetic of every thread reads the refreshed table.
    if (written.length > 0) call.push({ kind: "barrier", threads: this.#threads });
    return call;
  }

  #arg(a: Arg): Expr {
    switch (a.kind) {
      case "view":
        return this.#table.read(this.viewAddress(a.view));
      case "dim":
        return this.#table.read(a.value);
      case "f32":
        return b.f32(a.value);
      case "scratch": {
        const place = this.#placement.arena.scratch.get(a);
        if (place === undefined) throw new InternalError("scratch has no place");
        const base = this.#table.read(dimAdd(place.offset, this.#placement.arenaOffset));
        if (!a.perThread) return base;
        return b.add(base, b.mul(this.#tid, this.#table.read(alignUp(dimUpperBound(a.bytes)))));
      }
      case "sizeSlot": {
        const symbol = this.unknownSymbols().find((d) => typeof d !== "number" && d.key === a.symbol);
        if (symbol === undefined) throw new InternalError(`no dim ${a.symbol}`);
        return b.i32(this.#table.address(this.#table.slot(symbol)));
      }
    }
  }
}
