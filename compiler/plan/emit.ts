/**
 * Turns a placed schedule into the two exported functions of an entry (see runtime/format.ts): `plan_E`, which evaluates all
 * sizes and offsets into the table, and `run_E`, which makes the calls. Both are plain Loop IR.
 */

import { type Dim, dimSymbol, symbolDim } from "../../ir/dim.js";
import { foldDim } from "../../ir/dim-read.js";
import { InternalError } from "../../ir/errors.js";
import type { Expr, LoopFunction, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import { emitDimOp } from "../../ir/loop-dim.js";
import { planOverflow, planRefused, wordChunk, wordPoll, wordResume, wordStop } from "../../runtime/format.js";
import {
  type Arg,
  type ForStep,
  isView,
  type KernelStep,
  type Limit,
  limitsIn,
  type OnceStep,
  type Schedule,
  type Step,
  type View,
} from "../schedule.js";
import { afterFinding } from "./growth.js";
import { Hazards } from "./hazards.js";
import { canLeave, Leaving, leaveIfAsked, setWord, word } from "./leaving.js";
import { broken, checks, limitAddress } from "./limits.js";
import type { Placement } from "./placement.js";
import { copiedBytes, loopState, splitAtLoops, unknownSymbols } from "./reads.js";
import type { EntryTable } from "./table.js";

/** Steps per run function: engines compile function by function, and a huge one compiles late. */
const stepsPerFunction = 32;

/** What a part of run_E returns where a limit is broken: the parts after it do not run. */
const stopped = b.i32(-1);

export class EntryEmitter {
  readonly #schedule: Schedule;
  readonly #placement: Placement;
  readonly #table: EntryTable;
  /** Index expressions of the loops around the step being emitted, by symbol. */
  readonly #loops = new Map<string, Expr>();
  readonly #leaving = new Leaving();
  #names = 0;
  /** In a once step: the code runs for the first time. Engines put better code in the place of quick code only when it is called anew. */
  #isFirst = false;
  readonly #tid: Expr;
  readonly #threads: Expr;

  constructor(schedule: Schedule, placement: Placement, table: EntryTable) {
    this.#schedule = schedule;
    this.#placement = placement;
    this.#table = table;
    this.#tid = b.v("tid", "i32");
    this.#threads = b.v("threads", "i32");
  }

  /** run_E and its parts. */
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
        const index = first + i;
        const inside = b.and(b.leS(begin, b.i32(index)), b.ltS(b.i32(index), end));
        return b.ifThen(inside, [...this.#topStep(step, index, hazards), ...leaveIfAsked(b.i32(index + 1))]);
      });
      body.push({ kind: "return", value: end });
      groups.push({ name: `run_${name}_${first / stepsPerFunction}`, params, result: "i32", body });
    }
    const calls = groups.flatMap((g, i): Stmt[] => {
      const next = b.v(`next_${i}`, "i32");
      return [
        { kind: "let", name: `next_${i}`, value: b.call("i32", g.name, [this.#tid, this.#threads, begin, end]) },
        b.ifThen(b.ne(next, end), [b.ret(b.select(b.eq(next, stopped), end, next))]),
      ];
    });
    calls.push({ kind: "return", value: end });
    return [...groups, { name: `run_${name}`, params, result: "i32", body: calls }];
  }

  /** A step of the schedule, which may be one that an earlier call left off in. */
  #topStep(step: Step, index: number, hazards: Hazards): readonly Stmt[] {
    if (!canLeave(step)) return this.#step(step, hazards);
    this.#leaving.enter(index, this.#fresh("skip"));
    return [b.mut(this.#leaving.skipName, word(wordResume)), ...this.#step(step, hazards)];
  }

  /** Steps inside control flow. Those before the one that a call is to go on in are skipped. */
  #list(steps: readonly Step[], hazards: Hazards): readonly Stmt[] {
    if (!steps.some(canLeave)) return steps.flatMap((s) => this.#step(s, hazards));
    const { skip } = this.#leaving;
    const out: Stmt[] = [];
    let plain: Stmt[] = [];
    for (const step of steps) {
      if (!canLeave(step)) {
        plain.push(...this.#step(step, hazards));
        continue;
      }
      const first = this.#leaving.next;
      const body = this.#step(step, hazards);
      const inside = b.and(b.leS(b.i32(first), skip), b.ltS(skip, b.i32(this.#leaving.next)));
      if (plain.length > 0) out.push(b.ifThen(b.eq(skip, b.i32(0)), plain));
      plain = [];
      out.push(b.ifThen(b.or(b.eq(skip, b.i32(0)), inside), body));
    }
    if (plain.length > 0) out.push(b.ifThen(b.eq(skip, b.i32(0)), plain));
    return out;
  }

  /** plan_E. */
  plan(): LoopFunction {
    const { requirements } = this.#schedule;
    const total = this.#placement.end;
    const statements: Stmt[] = [];
    const largest = b.v("largest", "f64");
    statements.push(b.mut("largest", this.#table.inDoubles(total)));
    // Sizes that data decide are 0 until they are found. What depends on them is evaluated anew then; a way through branches that
    // does not find some of them leaves these at 0.
    for (const d of unknownSymbols(this.#schedule)) statements.push(...this.#keep(d, 0, largest));
    for (const { symbol, begin } of this.#placement.arena.stages)
      statements.push(...this.#keep(dimSymbol(symbol), begin, largest));
    for (const { value } of this.#table.derived()) statements.push(...this.#keep(value, value, largest));
    if (requirements.length > 0)
      statements.push(
        ...checks(this.#table, requirements, () => this.#fresh("actual")),
        b.ifThen(
          broken(
            this.#table,
            requirements.map((r) => r.limit),
          ),
          [b.ret(b.i32(planRefused | 0))],
        ),
      );
    statements.push(b.ifThen(b.ge(largest, b.f64(planRefused)), [{ kind: "return", value: b.i32(planOverflow | 0) }]), {
      kind: "return",
      value: b.convert("i32.from_f64U", this.#table.inDoubles(total)),
    });
    return { name: `plan_${this.#schedule.name}`, params: [], result: "i32", body: statements };
  }

  /**
   * After a step that sets limits on one thread: all threads end the run where one is broken, so that nothing works on sizes
   * that are none. No later step sets the same limits before another barrier, so every thread sees the same.
   */
  #endsWhereBroken(limits: readonly Limit[]): readonly Stmt[] {
    return [{ kind: "barrier", threads: this.#threads }, b.ifThen(broken(this.#table, limits), [b.ret(stopped)])];
  }

  /** Stores the value in the slot of `key`. */
  #keep(key: Dim, value: Dim, largest: Expr): readonly Stmt[] {
    return this.#table.keep(this.#table.slot(key), this.#table.inDoubles(value), largest, this.#fresh("d"));
  }

  #hazards(): Hazards {
    return new Hazards(this.#placement);
  }

  #step(step: Step, hazards: Hazards): readonly Stmt[] {
    const barrier: Stmt = { kind: "barrier", threads: this.#threads };
    switch (step.kind) {
      case "kernel":
        return [...(hazards.before(step) ? [barrier] : []), ...this.#kernel(step)];
      case "copy": {
        const copy: Stmt = {
          kind: "copy",
          dst: this.#read(this.#placement.address(step.to)),
          src: this.#read(this.#placement.address(step.from)),
          bytes: this.#read(copiedBytes(step)),
        };
        return [...(hazards.before(step) ? [barrier] : []), b.ifThen(b.eq(this.#tid, b.i32(0)), [copy])];
      }
      case "if": {
        const branch = (steps: readonly Step[]) => this.#list(steps, this.#hazards());
        // All threads must have read the condition before anyone may overwrite it, and all must see its writer's store.
        hazards.clear();
        const name = this.#fresh("condition");
        const condition = b.v(name, "i32");
        const then = branch(step.then);
        const thenEnd = this.#leaving.next;
        const decide = [barrier, b.assign(condition, this.#flag(step.condition)), barrier];
        const again = b.assign(condition, b.convert("i32.from_mask", b.ltS(this.#leaving.skip, b.i32(thenEnd))));
        return [
          b.mut(name, b.i32(0)),
          ...(canLeave(step) ? [b.ifThen(this.#leaving.isFresh(), decide, [again])] : decide),
          b.ifThen(b.ne(condition, b.i32(0)), then, branch(step.else)),
          barrier,
        ];
      }
      case "once":
        return this.#once(step, barrier);
      case "check":
        hazards.clear();
        return [
          b.ifThen(
            b.eq(this.#tid, b.i32(0)),
            checks(this.#table, step.requirements, () => this.#fresh("actual")),
          ),
          ...this.#endsWhereBroken(step.requirements.map((r) => r.limit)),
        ];
      case "for":
        hazards.clear();
        return this.#loop(step, barrier);
    }
  }

  /**
   * The flag is set only when all threads have looked at it, so all of them take the same way, and those that find it set need not
   * wait for one another. What has broken a limit is not done: the next run will say so, too.
   */
  #once({ done, body }: OnceStep, barrier: Stmt): readonly Stmt[] {
    const flag = this.#read(this.#placement.address(done));
    const limits = limitsIn(body);
    const isWhole = limits.length === 0 ? b.i32(1) : b.select(broken(this.#table, limits), b.i32(0), b.i32(1));
    const set = b.store("u8", flag, b.i32(0), isWhole);
    this.#isFirst = true;
    const steps = this.#list(body, this.#hazards());
    this.#isFirst = false;
    return [
      b.ifThen(b.eq(this.#flag(done), b.i32(0)), [
        ...steps,
        barrier,
        b.ifThen(b.eq(this.#tid, b.i32(0)), [set]),
        barrier,
      ]),
    ];
  }

  /** A bool in memory as an i32. */
  #flag(view: View): Expr {
    return b.load("i32", "u8", this.#read(this.#placement.address(view)), b.i32(0));
  }

  #fresh(hint: string): string {
    return `${hint}_${this.#names++}`;
  }

  #loop(step: ForStep, barrier: Stmt): readonly Stmt[] {
    const [count, round, goOn] = ["count", "round", "go_on"].map((n) => b.v(this.#fresh(n), "i32")) as [
      Expr,
      Expr,
      Expr,
    ];
    const nameOf = (e: Expr) => (e as Extract<Expr, { kind: "var" }>).name;
    const index = step.reverse ? b.sub(b.sub(count, b.i32(1)), round) : round;
    this.#loops.set(step.symbol, index);
    const leaving = this.#leaving;
    const id = leaving.id();
    const slots = [count, round].map((value, i) => {
      const at = b.i32(this.#table.address(this.#table.slot(loopState(step)[i]!)));
      return { value, store: b.store("i32", at, b.i32(0), value), load: b.load("i32", "i32", at, b.i32(0)) };
    });
    leaving.loops.push(slots.map((s) => s.store));
    const body = this.#list(step.body, this.#hazards());
    this.#loops.delete(step.symbol);
    const leave = leaving.leave(id);
    leaving.loops.pop();
    const flag = () => (step.condition ? this.#flag(step.condition) : b.i32(1));
    const running = () => b.and(b.ltS(round, count), b.ne(goOn, b.i32(0)));
    // One barrier makes earlier stores visible to the loop's reads, the next keeps a fast thread from changing them too soon.
    return [
      ...[count, round, goOn].map((e) => b.mut(nameOf(e), b.i32(0))),
      b.ifThen(
        leaving.isFresh(),
        [barrier, b.assign(count, this.#rounds(step.count)), b.assign(goOn, flag()), barrier],
        [
          ...slots.map((s) => b.assign(s.value, s.load)),
          // Inside a round, the condition may be that of the next already.
          b.assign(goOn, b.i32(1)),
          b.ifThen(b.eq(leaving.skip, b.i32(id)), [b.assign(goOn, flag()), ...leaving.arrive()]),
        ],
      ),
      b.whileLoop(running(), [
        ...body,
        b.assign(round, b.add(round, b.i32(1))),
        barrier,
        ...(step.condition ? [b.assign(goOn, flag()), barrier] : []),
        b.ifThen(running(), [b.ifThen(b.ne(b.poll(), b.i32(0)), leave)]),
      ]),
    ];
  }

  /** A count in memory is an i64: within [0, 2^31). */
  #rounds(count: Dim | View): Expr {
    if (!isView(count)) return this.#read(count);
    const wide = () => b.load("i64", "i64", this.#read(this.#placement.address(count)), b.i32(0));
    const most = b.i64(2 ** 31 - 1);
    const least = b.i64(0);
    const below = b.select(b.gtS(wide(), most), most, wide());
    return b.convert("i32.from_i64", b.select(b.ltS(wide(), least), least, below));
  }

  /** The value as an i32; terms of a loop's symbol are computed on the spot, the rest of a sum has a slot. */
  #read(d: Dim): Expr {
    const { fixed, varying } = splitAtLoops(d, (s) => this.#loops.has(s));
    if (varying === 0) return this.#table.read(fixed);
    const computed = this.#compute(varying);
    return fixed === 0 ? computed : b.add(computed, this.#table.read(fixed));
  }

  #compute(d: Dim): Expr {
    return foldDim<Expr>(d, {
      constant: (c) => b.i32(c),
      symbol: (s) => this.#loops.get(s.name) ?? this.#table.read(symbolDim(s)),
      add: (x, y) => b.add(x, y),
      mul: (x, y) => b.mul(x, y),
      op: (atom, x, y) => emitDimOp(atom, x, y, (e) => e),
      scaled: b.scaledIndex,
    });
  }

  #kernel(step: KernelStep): readonly Stmt[] {
    const args = step.args.map((a) => this.#arg(a));
    const fn = step.fn.name;
    const written = step.args.flatMap((a) => (a.kind === "sizeSlot" ? [a.symbol] : []));
    const barrier: Stmt = { kind: "barrier", threads: this.#threads };
    // A slow thread may still read the old sizes; later address arithmetic of every thread reads the new ones.
    const call: Stmt[] = written.length > 0 ? [barrier] : [];
    if (step.chunks === undefined) {
      call.push(
        b.ifThen(b.eq(this.#tid, b.i32(0)), [{ kind: "call", fn, args }, ...this.#afterFinding(step, written)]),
      );
    } else {
      if (written.length > 0) throw new InternalError(`${step.fn.name} finds a size but runs in chunks`);
      return this.#chunks(this.#read(step.chunks), (begin, end) => ({ kind: "call", fn, args: [begin, end, ...args] }));
    }
    const limits = step.args.flatMap((a) => (a.kind === "limitSlot" ? [a.limit] : []));
    if (written.length > 0) call.push(...(limits.length > 0 ? this.#endsWhereBroken(limits) : [barrier]));
    if (written.length > 0 && this.#placement.arena.stages.length > 0)
      call.push(b.ifThen(b.ne(word(wordStop), b.i32(0)), [b.ret(stopped)]));
    return call;
  }

  #afterFinding(step: KernelStep, sizes: readonly string[]): readonly Stmt[] {
    if (sizes.length === 0) return [];
    const position = this.#placement.arena.positions.get(step)!;
    return afterFinding(this.#table, this.#placement, sizes, position, (hint) => this.#fresh(hint));
  }

  /** This thread's share of the chunks: at once, or one after the other where somebody may want to stop the run. */
  #chunks(chunks: Expr, call: (begin: Expr, end: Expr) => Stmt): readonly Stmt[] {
    const leaving = this.#leaving;
    const id = leaving.id();
    const [at, next, end] = ["chunk", "next", "end"].map((n) => this.#fresh(n)) as [string, string, string];
    const v = (name: string) => b.v(name, "i32");
    const one = b.minS(b.add(v(at), b.i32(1)), v(end));
    return [
      b.mut(at, b.divU(b.mul(chunks, this.#tid), this.#threads)),
      { kind: "let", name: end, value: b.divU(b.mul(chunks, b.add(this.#tid, b.i32(1))), this.#threads) },
      b.ifThen(b.ne(leaving.skip, b.i32(0)), [b.assign(v(at), word(wordChunk)), ...leaving.arrive()]),
      b.whileLoop(b.ltS(v(at), v(end)), [
        { kind: "let", name: next, value: this.#isFirst ? one : b.select(b.ne(word(wordPoll), b.i32(0)), one, v(end)) },
        call(v(at), v(next)),
        b.assign(v(at), v(next)),
        b.ifThen(b.ltS(v(at), v(end)), [
          b.ifThen(b.ne(b.poll(), b.i32(0)), [setWord(wordChunk, v(at)), ...leaving.leave(id)]),
        ]),
      ]),
    ];
  }

  #arg(a: Arg): Expr {
    switch (a.kind) {
      case "view":
        return this.#read(this.#placement.address(a.view));
      case "dim":
        return this.#read(a.value);
      case "f32":
        return b.f32(a.value);
      case "scratch": {
        const base = this.#read(this.#placement.scratchAddress(a));
        if (!a.perThread) return base;
        return b.add(base, b.mul(this.#tid, this.#read(this.#placement.scratch(a).stride)));
      }
      case "sizeSlot":
        return b.i32(this.#table.address(this.#table.slot(dimSymbol(a.symbol))));
      case "limitSlot":
        return limitAddress(this.#table, a.limit);
    }
  }
}
