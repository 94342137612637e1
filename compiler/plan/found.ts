/** Where in a schedule sizes are found, and for which buffers they are settled: found before, and not found anew while it lives. */

import type { Buffer, Schedule, Step } from "../schedule.js";
import { type Interval, type Liveness, usesOf } from "./liveness.js";

/** The steps of a loop, or of one branch of an `if`. */
interface Span extends Interval {
  readonly kind: "loop" | "branch";
  /** Position of the step that they are inside of. */
  readonly of: number;
}

interface Finder {
  readonly position: number;
  readonly inside: readonly Span[];
}

/** What lies in one place, and when. */
export interface Living {
  readonly buffers: readonly Buffer[];
  readonly interval: Interval;
}

const contains = (span: Interval, position: number) => span.start <= position && position <= span.end;

export class FoundSizes {
  readonly #finders = new Map<string, Finder[]>();
  readonly #loops: Span[] = [];
  readonly #branches: Span[] = [];
  readonly #uses = new Map<Buffer, number[]>();

  constructor(schedule: Schedule, { positions }: Liveness) {
    const visit = (steps: readonly Step[], inside: readonly Span[]): void => {
      for (const step of steps) {
        const position = positions.get(step)!;
        for (const { view } of usesOf(step)) {
          const uses = this.#uses.get(view.buffer);
          if (uses === undefined) this.#uses.set(view.buffer, [position]);
          else uses.push(position);
        }
        if (step.kind === "kernel") {
          for (const a of step.args) if (a.kind === "sizeSlot") this.#add(a.symbol, { position, inside });
        } else if (step.kind === "once") {
          visit(step.body, inside);
        } else if (step.kind === "for") {
          visit(step.body, [...inside, this.#span("loop", step.body, position, positions, this.#loops)]);
        } else if (step.kind === "if") {
          for (const branch of [step.then, step.else])
            visit(branch, [...inside, this.#span("branch", branch, position, positions, this.#branches)]);
        }
      }
    };
    visit(schedule.steps, []);
  }

  #add(symbol: string, finder: Finder): void {
    const known = this.#finders.get(symbol);
    if (known === undefined) this.#finders.set(symbol, [finder]);
    else known.push(finder);
  }

  #span(
    kind: Span["kind"],
    steps: readonly Step[],
    of: number,
    positions: ReadonlyMap<Step, number>,
    into: Span[],
  ): Span {
    const start = steps.length === 0 ? of : positions.get(steps[0]!)!;
    const span = { kind, of, start, end: lastPosition(steps, positions, of) };
    into.push(span);
    return span;
  }

  get symbols(): Iterable<string> {
    return this.#finders.keys();
  }

  /**
   * Whether one of the sizes is not found up to the step at this position, but is on every way from there: what depends on all of
   * them need not be evaluated yet.
   */
  awaits(symbols: Iterable<string>, position: number): boolean {
    const here = [...this.#finders.values()].flat().find((f) => f.position === position)?.inside ?? [];
    const isSure = (f: Finder) => f.position > position && f.inside.every((span) => here.includes(span));
    return [...symbols].some((s) => {
      const finders = this.#finders.get(s) ?? [];
      return finders.every((f) => f.position > position) && finders.some(isSure);
    });
  }

  /** Whether the size has its value when the block begins to live, and keeps it as long as it does. */
  isSettled(symbol: string, block: Living): boolean {
    const finders = this.#finders.get(symbol) ?? [];
    return (
      finders.some((f) => this.#isBefore(f, block)) &&
      finders.every((f) => this.#isBefore(f, block) || f.position > block.interval.end)
    );
  }

  /**
   * The position from which on a block of this size can be placed: that of the last step before that finds it, and no earlier
   * than the start of a loop around the block that finds it again in each round.
   */
  settledAt(symbol: string, block: Living): number {
    const { start } = block.interval;
    const finders = this.#finders.get(symbol) ?? [];
    const before = finders.filter((f) => this.#isBefore(f, block)).map((f) => f.position);
    const loops = this.#loops.filter(
      (loop) => contains(loop, start) && start > loop.of && finders.some((f) => contains(loop, f.position)),
    );
    return Math.max(-1, ...before, ...loops.map((loop) => loop.of));
  }

  /** The position of the first step before the block that finds the size: from there on the block may be placed, on some way. */
  settledSince(symbol: string, block: Living): number {
    const finders = this.#finders.get(symbol) ?? [];
    return Math.min(...finders.filter((f) => this.#isBefore(f, block)).map((f) => f.position));
  }

  /**
   * Before the block lives; or in the other branch of an `if` than where it begins to: then it begins to live in this branch with
   * its first use there.
   */
  #isBefore(finder: Finder, { buffers, interval }: Living): boolean {
    if (finder.position < interval.start) return true;
    return finder.inside.some((span) => {
      if (span.kind !== "branch" || contains(span, interval.start)) return false;
      const other = this.#branches.some((b) => b.of === span.of && b !== span && contains(b, interval.start));
      const uses = buffers.flatMap((b) => this.#uses.get(b) ?? []).filter((at) => contains(span, at));
      return other && uses.every((at) => at > finder.position);
    });
  }
}

function lastPosition(steps: readonly Step[], positions: ReadonlyMap<Step, number>, fallback: number): number {
  const last = steps.at(-1);
  if (last === undefined) return fallback;
  const at = positions.get(last)!;
  if (last.kind === "for" || last.kind === "once") return lastPosition(last.body, positions, at);
  if (last.kind === "if") return lastPosition(last.else.length > 0 ? last.else : last.then, positions, at);
  return at;
}
