/**
 * A line search for the strong Wolfe conditions, step by step as PyTorch's `_strong_wolfe` (a translation of minFunc's): J. Nocedal and
 * S. Wright, Numerical Optimization, algorithms 3.5 and 3.6, with cubic interpolation. Where points lie so near to one another that the
 * losses' differences are rounding, other places may be tried than PyTorch tries, by the same conditions.
 */

import { np, where } from "../../../ir/build.js";
import { loopOp } from "../../../ir/control-build.js";
import type { Value } from "../../../ir/graph.js";
import { scalarConstant } from "../../../ir/ops/constant.js";
import { abs, sqrt } from "../../../ir/ops/elementwise.js";
import { not } from "../../../ir/ops/logic.js";

/** A point on the line: its place, the loss there, and the loss's slope along the line. */
interface Point {
  readonly t: Value;
  readonly f: Value;
  readonly slope: Value;
}

export interface Line {
  /** Loss and slope at a place. */
  readonly at: (t: Value) => { readonly f: Value; readonly slope: Value };
  /** At place 0. */
  readonly start: { readonly f: Value; readonly slope: Value };
  /** Where to look first. */
  readonly first: Value;
  /** Largest element of the direction. */
  readonly largest: Value;
  /** Whether to look at all. */
  readonly wanted: Value;
  readonly toleranceChange: number;
}

/** Sufficient decrease, and curvature. */
const [c1, c2] = [1e-4, 0.9];
const mostRounds = 25;

const f32 = (v: number) => scalarConstant("f32", v);
const chosen = (condition: Value, a: Point, b: Point): Point => ({
  t: where(condition, a.t, b.t),
  f: where(condition, a.f, b.f),
  slope: where(condition, a.slope, b.slope),
});
const any = (...conditions: readonly Value[]) => conditions.reduce((a, b) => np.or(a, b));
const all = (...conditions: readonly Value[]) => conditions.reduce((a, b) => np.and(a, b));

/** The least of the cubic through two points with their slopes, within bounds; between these where it has none. */
function interpolated(a: Point, b: Point, low: Value, high: Value): Value {
  const inOrder = np.le(a.t, b.t);
  const [x, y] = [chosen(inOrder, a, b), chosen(inOrder, b, a)];
  const d1 = np.sub(np.add(x.slope, y.slope), np.div(np.mul(np.sub(x.f, y.f), 3), np.sub(x.t, y.t)));
  const square = np.sub(np.mul(d1, d1), np.mul(x.slope, y.slope));
  const d2 = sqrt([np.max(square, 0)]);
  const part = np.div(np.sub(np.add(y.slope, d2), d1), np.add(np.sub(y.slope, x.slope), np.mul(d2, 2)));
  const least = np.sub(y.t, np.mul(np.sub(y.t, x.t), part));
  return where(np.ge(square, 0), np.min(np.max(least, low), high), np.mul(np.add(low, high), 0.5));
}

/** The next place between two points, not too near to either. `hesitant`: the last one was near, and kept. */
function between(a: Point, b: Point, hesitant: Value): { readonly t: Value; readonly hesitant: Value } {
  const [least, most] = [np.min(a.t, b.t), np.max(a.t, b.t)];
  const t = interpolated(a, b, least, most);
  const margin = np.mul(np.sub(most, least), 0.1);
  const isNear = np.lt(np.min(np.sub(most, t), np.sub(t, least)), margin);
  const moves = all(isNear, any(hesitant, np.ge(t, most), np.le(t, least)));
  const isHigh = np.lt(abs([np.sub(t, most)]), abs([np.sub(t, least)]));
  const inside = where(isHigh, np.sub(most, margin), np.add(least, margin));
  return { t: where(moves, inside, t), hesitant: all(isNear, not([moves])) };
}

/** How far to go along the line; 0 where that is not wanted. */
export function strongWolfe({ at, start, first, largest, wanted, toleranceChange }: Line): Value {
  const zero: Point = { t: f32(0), ...start };
  const no = scalarConstant("bool", 0);
  const carried = [zero.t, first, f32(0), no, no, ...listOf(zero), ...listOf(zero)];
  const { carried: last } = loopOp(
    { tripCount: scalarConstant("i64", 2n * BigInt(mostRounds) + 2n), condition: wanted, carried },
    (_, state) => {
      const [, t, round, zooming, hesitant] = state as readonly [Value, Value, Value, Value, Value];
      // While the bracket is sought, `low` is the point before; `high` means nothing.
      const [low, high] = [pointOf(state.slice(5, 8)), pointOf(state.slice(8, 11))];
      const now: Point = { t, ...at(t) };
      const tooHigh = np.gt(now.f, np.add(start.f, np.mul(np.mul(t, start.slope), c1)));
      const isFlat = np.le(abs([now.slope]), np.mul(start.slope, -c2));

      // Seeking a bracket.
      const outOfRounds = np.ge(round, mostRounds);
      const rises = any(tooHigh, all(np.gt(round, 1), np.ge(now.f, low.f)));
      const found = all(not([rises]), isFlat);
      const opens = any(rises, all(not([isFlat]), np.ge(now.slope, 0)));
      const further = interpolated(low, now, np.add(t, np.mul(np.sub(t, low.t), 0.01)), np.mul(t, 10));

      // Narrowing it.
      const worse = any(tooHigh, np.ge(now.f, low.f));
      const crossed = np.ge(np.mul(now.slope, np.sub(high.t, low.t)), 0);
      const others = chosen(worse, now, chosen(all(crossed, not([isFlat])), low, high));
      const best = chosen(worse, low, now);
      const narrowed = ordered(best, others);

      const opened = ordered(low, now);
      const bracket = {
        low: chosen(zooming, narrowed.low, opened.low),
        high: chosen(zooming, narrowed.high, opened.high),
      };
      const rounds = where(any(zooming, not([any(opens, found, outOfRounds)])), np.add(round, 1), round);
      const isBracketed = any(zooming, opens);
      const isSmall = np.lt(np.mul(abs([np.sub(bracket.high.t, bracket.low.t)]), largest), toleranceChange);
      const ends = where(
        zooming,
        any(all(not([worse]), isFlat), isSmall, np.ge(rounds, mostRounds)),
        any(found, outOfRounds, all(opens, any(isSmall, np.ge(rounds, mostRounds)))),
      );
      const next = between(bracket.low, bracket.high, hesitant);
      const sought = where(outOfRounds, where(np.le(start.f, now.f), 0, t), where(opens, bracket.low.t, t));
      return {
        condition: not([ends]),
        carried: [
          where(zooming, bracket.low.t, sought),
          where(isBracketed, next.t, further),
          rounds,
          isBracketed,
          all(isBracketed, next.hesitant),
          ...listOf(chosen(isBracketed, bracket.low, now)),
          ...listOf(bracket.high),
        ],
      };
    },
  );
  return last[0]!;
}

const listOf = ({ t, f, slope }: Point): readonly Value[] => [t, f, slope];
const pointOf = ([t, f, slope]: readonly Value[]): Point => ({ t: t!, f: f!, slope: slope! });

/** The lower point first. */
function ordered(a: Point, b: Point): { readonly low: Point; readonly high: Point } {
  const isFirst = np.le(a.f, b.f);
  return { low: chosen(isFirst, a, b), high: chosen(isFirst, b, a) };
}
