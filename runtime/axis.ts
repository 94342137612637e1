/** Axes of charts: what they reach over, and where their marks stand. */

export interface Mark {
  readonly value: number;
  readonly label: string;
}

export interface Axis {
  /** From 0 at the least value to 1 at the largest. */
  readonly at: (value: number) => number;
  readonly marks: readonly Mark[];
}

/** Differences that are less are none: labels of marks would be long or equal, or steps vanish. */
const [leastPart, least] = [1e-5, 1e-300];
const largest = Number.MAX_VALUE;

/** Least and largest of finite values, of which there may be none, and apart from one another. */
export function rangeOf(values: readonly number[]): readonly [low: number, high: number] {
  let [low, high] = [values[0] ?? 0, values[0] ?? 0];
  for (const v of values) [low, high] = [Math.min(low, v), Math.max(high, v)];
  const size = Math.max(Math.abs(low), Math.abs(high));
  // Halves, since the difference of the largest numbers is infinite.
  if (high / 2 - low / 2 > Math.max((leastPart * size) / 2, least)) return [low, high];
  const apart = size > least ? size / 2 : 0.5;
  return [Math.max(-largest, low - apart), Math.min(largest, high + apart)];
}

const shareOf = (low: number, high: number) => (v: number) => (v / 2 - low / 2) / (high / 2 - low / 2);

function labelOf(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  return size < 1e-4 || size >= 1e7 ? value.toExponential().replace("e+", "e") : String(value);
}

/** Round numbers from low to high, some five of them, with as many digits as tell them apart. */
function roundNumbers(low: number, high: number, whole = false): Mark[] {
  const raw = high / 5 - low / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(whole ? 1 : 0, ([1, 2, 5].find((m) => m * power >= raw * (1 - 1e-6)) ?? 10) * power);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  const size = Math.max(Math.abs(low), Math.abs(high));
  const digits = Math.max(1, Math.ceil(Math.log10(size / step)) + 1);
  return Array.from({ length: count }, (_, i) => {
    const value = (first + i) * step;
    return { value, label: labelOf(Number(value.toPrecision(digits))) };
  });
}

/** An axis on which equal differences are equally long. @param whole marks are at whole numbers only, as epochs are */
export const linearAxis = ([low, high]: readonly [number, number], whole = false): Axis => ({
  at: shareOf(low, high),
  marks: roundNumbers(low, high, whole),
});

/** Whether a logarithmic axis has a place for it. */
export const hasLogarithm = (value: number): boolean => value > least;

/** An axis on which equal factors are equally long. @param values of which each has a logarithm */
export function logarithmicAxis(values: readonly number[]): Axis {
  const [low, high] = rangeOf(values.length > 0 ? values : [1]);
  const [from, to] = [Math.log10(low), Math.log10(high)];
  const share = shareOf(from, to);
  const at = (v: number) => share(Math.log10(v));
  const stride = Math.ceil((to - from) / 6);
  const first = Math.floor(from / stride);
  const powers = Array.from({ length: Math.ceil(to / stride) - first + 1 }, (_, i) => (first + i) * stride);
  const factors = to - from > 3 ? [1] : [1, 2, 5];
  const marks = powers
    .flatMap((power) => factors.map((factor) => Number(`${factor}e${power}`)))
    .filter((value) => value >= low && value <= high);
  return {
    at,
    marks: marks.length > 2 ? marks.map((value) => ({ value, label: labelOf(value) })) : roundNumbers(low, high),
  };
}
