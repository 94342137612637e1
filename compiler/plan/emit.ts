/**
 * Turns a placed schedule into `run_E` (see runtime/format.ts), which makes the calls, in plain Loop IR. Steps stand in functions of
 * some dozens; a block of steps that repeats is one of them, called with what differs.
 */

import { type Dim, symbolDim } from "../../ir/dim.js";
import { foldDim } from "../../ir/dim-read.js";
import { InternalError } from "../../ir/errors.js";
import type { Expr, LoopFunction, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import { emitDimOp } from "../../ir/loop-dim.js";
import { wordChunk, wordPoll, wordResume, wordStop } from "../../runtime/format.js";
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
import { type Block, type BlockStep, blockCalls } from "./blocks.js";
import { afterFinding } from "./growth.js";
import { Hazards } from "./hazards.js";
import { canLeave, Leaving, leaveIfAsked, setWord, word } from "./leaving.js";
import { broken, checks } from "./limits.js";
import type { Placement } from "./placement.js";
import { isLeaf, type Leaf, loopState, type Operand, operandsOf, splitAtLoops } from "./reads.js";
import type { EntryTable } from "./table.js";

const runParams = [
  { name: "tid", type: "i32" },
  { name: "threads", type: "i32" },
  { name: "begin", type: "i32" },
  { name: "end", type: "i32" },
] as const;

const nameOf = (e: Expr) => (e as Extract<Expr, { kind: "var" }>).name;

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
    const { name } = this.#schedule;
    const parts = new Map<Block, LoopFunction>();
    const calls: Stmt[] = [];
    const [begin, end] = [b.v("begin", "i32"), b.v("end", "i32")];
    for (const { block, args } of blockCalls(this.#schedule, this.#placement, this.#table)) {
      const part = parts.get(block) ?? this.#part(`run_${name}_${parts.size}`, block);
      parts.set(block, part);
      const next = b.v(this.#fresh("next"), "i32");
      const value = b.call("i32", part.name, [this.#tid, this.#threads, begin, end, ...args]);
      calls.push(
        { kind: "let", name: nameOf(next), value },
        b.ifThen(b.ne(next, end), [b.ret(b.select(b.eq(next, stopped), end, next))]),
      );
    }
    calls.push({ kind: "return", value: end });
    return [...parts.values(), { name: `run_${name}`, params: runParams, result: "i32", body: calls }];
  }

  #part(name: string, { steps, params }: Block): LoopFunction {
    const [begin, end] = [b.v("begin", "i32"), b.v("end", "i32")];
    const body = steps.map((step): Stmt => {
      const { index } = step;
      const inside = b.and(b.leS(begin, index), b.ltS(index, end));
      return b.ifThen(inside, [...this.#topStep(step), ...leaveIfAsked(b.add(index, b.i32(1)))]);
    });
    body.push({ kind: "return", value: end });
    const more = params.map((type, i) => ({ name: `p${i}`, type }));
    return { name, params: [...runParams, ...more], result: "i32", body };
  }

  /** A step of the schedule, which may be one that an earlier call left off in. */
  #topStep({ step, index, waits, operands }: BlockStep): readonly Stmt[] {
    const code = () => (isLeaf(step) ? this.#leaf(step, waits, operands) : this.#control(step));
    if (!canLeave(step)) return code();
    this.#leaving.enter(index, this.#fresh("skip"));
    return [b.mut(this.#leaving.skipName, word(wordResume)), ...code()];
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

  /**
   * After a step that sets limits on one thread: all threads end the run where one is broken, so that nothing works on sizes
   * that are none. No later step sets the same limits before another barrier, so every thread sees the same.
   */
  #endsWhereBroken(limits: readonly Limit[]): readonly Stmt[] {
    return [{ kind: "barrier", threads: this.#threads }, b.ifThen(broken(this.#table, limits), [b.ret(stopped)])];
  }

  #hazards(): Hazards {
    return new Hazards(this.#placement);
  }

  /** A step inside control flow. */
  #step(step: Step, hazards: Hazards): readonly Stmt[] {
    if (isLeaf(step)) {
      const operands = operandsOf(step, this.#placement).map((o) => this.#operand(o));
      return this.#leaf(step, hazards.before(step), operands);
    }
    hazards.control(step);
    return this.#control(step);
  }

  #operand({ dim, isSlot, type }: Operand): Expr {
    return isSlot ? b.ptr(this.#table.address(this.#table.slot(dim))) : this.#read(dim, type);
  }

  /** Code that reads `operands`, those that `operandsOf` lists. */
  #leaf(step: Leaf, waits: boolean, operands: readonly Expr[]): readonly Stmt[] {
    const barrier: readonly Stmt[] = waits ? [{ kind: "barrier", threads: this.#threads }] : [];
    if (step.kind === "kernel") return [...barrier, ...this.#kernel(step, operands)];
    const [dst, src, bytes] = operands as readonly [Expr, Expr, Expr];
    return [...barrier, b.ifThen(b.eq(this.#tid, b.i32(0)), [{ kind: "copy", dst, src, bytes }])];
  }

  #control(step: Exclude<Step, Leaf>): readonly Stmt[] {
    const barrier: Stmt = { kind: "barrier", threads: this.#threads };
    switch (step.kind) {
      case "if": {
        const branch = (steps: readonly Step[]) => this.#list(steps, this.#hazards());
        // All threads must have read the condition before anyone may overwrite it, and all must see its writer's store.
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
        return [
          b.ifThen(
            b.eq(this.#tid, b.i32(0)),
            checks(this.#table, step.requirements, () => this.#fresh("actual")),
          ),
          ...this.#endsWhereBroken(step.requirements.map((r) => r.limit)),
        ];
      case "for":
        return this.#loop(step, barrier);
    }
  }

  /**
   * The flag is set only when all threads have looked at it, so all of them take the same way, and those that find it set need not
   * wait for one another. What has broken a limit is not done: the next run will say so, too.
   */
  #once({ done, body }: OnceStep, barrier: Stmt): readonly Stmt[] {
    const flag = this.#address(done);
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
    return b.load("i32", "u8", this.#address(view), b.i32(0));
  }

  #address(view: View): Expr {
    return this.#read(this.#placement.address(view), "ptr");
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
    const index = step.reverse ? b.sub(b.sub(count, b.i32(1)), round) : round;
    this.#loops.set(step.symbol, index);
    const leaving = this.#leaving;
    const id = leaving.id();
    const slots = [count, round].map((value, i) => {
      const at = b.ptr(this.#table.address(this.#table.slot(loopState(step)[i]!)));
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
    if (!isView(count)) return this.#read(count, "i32");
    const wide = () => b.load("i64", "i64", this.#address(count), b.i32(0));
    const most = b.i64(2 ** 31 - 1);
    const least = b.i64(0);
    const below = b.select(b.gtS(wide(), most), most, wide());
    return b.convert("i32.from_i64", b.select(b.ltS(wide(), least), least, below));
  }

  /** The value; terms of a loop's symbol are computed on the spot, the rest of a sum has a slot. */
  #read(d: Dim, type: "i32" | "ptr"): Expr {
    const { fixed, varying } = splitAtLoops(d, (s) => this.#loops.has(s));
    if (varying === 0) return this.#table.read(fixed, type);
    const computed = this.#compute(varying);
    if (fixed !== 0) return b.add(computed, this.#table.read(fixed, type));
    return type === "ptr" ? b.distance(computed) : computed;
  }

  #compute(d: Dim): Expr {
    return foldDim<Expr>(d, {
      constant: (c) => b.i32(c),
      symbol: (s) => this.#loops.get(s.name) ?? this.#table.read(symbolDim(s), "i32"),
      add: (x, y) => b.add(x, y),
      mul: (x, y) => b.mul(x, y),
      op: (atom, x, y) => emitDimOp(atom, x, y, (e) => e),
      scaled: b.scaledIndex,
    });
  }

  #kernel(step: KernelStep, operands: readonly Expr[]): readonly Stmt[] {
    const next = operands.values();
    const operand = (): Expr => next.next().value as Expr;
    const args = step.args.map((a) => this.#arg(a, operand));
    const chunks = operand();
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
      return this.#chunks(chunks, (begin, end) => ({ kind: "call", fn, args: [begin, end, ...args] }));
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

  #arg(a: Arg, operand: () => Expr): Expr {
    if (a.kind === "f32") return b.f32(a.value);
    const value = operand();
    return a.kind === "scratch" && a.perThread ? b.add(value, b.mul(this.#tid, operand())) : value;
  }
}
