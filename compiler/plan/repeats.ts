/**
 * Equal layers as one function: runs of steps that repeat, and what differs between the repetitions as parameters. Deep models are
 * dozens of equal blocks, whose steps differ in little but where weights and caches lie.
 */

/** Steps from `first` on: `period` of them, `times` in a row. */
export interface Segment {
  readonly first: number;
  readonly period: number;
  readonly times: number;
}

/** Longest block that is looked for: a bound on the work, which is proportional to the steps. */
const longestPeriod = 512;

/** Steps that a repetition must leave out to be worth a function's parameters. */
const fewestSaved = 24;

/**
 * Segments that cover all steps, in their order. Equal numbers stand for steps that differ in parameters only; what is not to be
 * repeated has a number of its own.
 */
export function segmentsOf(ids: readonly number[]): readonly Segment[] {
  const isTaken = new Uint8Array(ids.length);
  const chosen: Segment[] = [];
  const saved = ({ period, times }: Segment) => period * (times - 1);
  for (const s of tandems(ids).sort((a, b) => saved(b) - saved(a) || a.period - b.period || a.first - b.first)) {
    const end = s.first + s.period * s.times;
    if (isTaken[s.first] || isTaken[end - 1]) continue;
    isTaken.fill(1, s.first, end);
    chosen.push(s);
  }
  chosen.sort((a, b) => a.first - b.first);
  const all: Segment[] = [];
  let at = 0;
  const single = (end: number) => {
    if (end > at) all.push({ first: at, period: end - at, times: 1 });
  };
  for (const s of chosen) {
    single(s.first);
    all.push(s);
    at = s.first + s.period * s.times;
  }
  single(ids.length);
  return all;
}

/** Longest runs of each period that leave out enough steps. */
function tandems(ids: readonly number[]): Segment[] {
  const found: Segment[] = [];
  for (let period = 1; period <= Math.min(longestPeriod, ids.length / 2); period++) {
    let first = 0;
    for (let i = 0; i + period <= ids.length; i++) {
      if (i + period < ids.length && ids[i] === ids[i + period]) continue;
      const times = Math.floor((i - first) / period) + 1;
      if ((times - 1) * period >= fewestSaved) found.push({ first, period, times });
      first = i + 1;
    }
  }
  return found;
}

/** A number in a repeated block: the same in all repetitions, or a parameter and what is to be added. */
export type Shared = { readonly value: number } | { readonly param: number; readonly plus: number };

/**
 * Columns of numbers, one for each repetition, as few parameters: columns that move by the same distances share one.
 *
 * @param kinds of the columns: those of different kinds share nothing
 * @returns each column's form, and the numbers of each parameter by repetition
 */
export function shareColumns(
  columns: readonly (readonly number[])[],
  kinds: readonly string[],
): {
  readonly shared: readonly Shared[];
  readonly params: readonly (readonly number[])[];
} {
  const params: (readonly number[])[] = [];
  const byMoves = new Map<string, number>();
  const shared = columns.map((column, i): Shared => {
    const [start] = column as readonly [number];
    if (column.every((n) => n === start)) return { value: start };
    const moves = `${kinds[i]} ${column.map((n) => n - start)}`;
    let param = byMoves.get(moves);
    if (param === undefined) {
      param = params.push(column) - 1;
      byMoves.set(moves, param);
    }
    return { param, plus: start - params[param]![0]! };
  });
  return { shared, params };
}
