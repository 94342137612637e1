/** What the ops compute, written down as loops over elements. */
import type { Tensor } from "../../../ir/tensor.js";
import { at, byIndex } from "./check.js";

export function softmax(scores: readonly number[], extra?: number): readonly number[] {
  const all = extra === undefined ? scores : [...scores, extra];
  const most = Math.max(...all);
  const total = all.reduce((s, v) => s + Math.exp(v - most), 0);
  return scores.map((v) => Math.exp(v - most) / total);
}

/** erf by its Taylor series, for small arguments. */
export function erf(x: number): number {
  let [sum, term] = [x, x];
  for (let n = 1; n < 60; n++) {
    term *= -(x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

export const gelu = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2));
export const fastGelu = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
export const sum = (count: number, of: (i: number) => number): number => {
  let total = 0;
  for (let i = 0; i < count; i++) total += of(i);
  return total;
};

/** Ties to even. */
export function roundEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

interface Attention {
  /** [batch, heads, rows, size] */
  readonly q: Tensor;
  /** [batch, key heads, keys, size] */
  readonly k: Tensor;
  readonly v: Tensor;
  readonly scale: number;
  /** Added to the score after the soft cap; −∞ hides the key. */
  readonly bias?: (b: number, h: number, row: number, key: number) => number;
  readonly softcap?: number;
  readonly sink?: (h: number) => number;
}

/** [batch, rows, heads · size] */
export function attend({ q, k, v, scale, bias = () => 0, softcap = 0, sink }: Attention): Tensor {
  const [batch, heads, rows, size] = q.shape as [number, number, number, number];
  const [, kvHeads, keys] = k.shape as [number, number, number, number];
  const width = v.shape[3]!;
  const [Q, K, V] = [at(q), at(k), at(v)];
  return byIndex([batch, rows, heads * width], (b, row, column) => {
    const [h, d] = [Math.floor(column / width), column % width];
    const shared = Math.floor(h / (heads / kvHeads));
    const scores = Array.from({ length: keys }, (_, key) => {
      const raw = scale * sum(size, (i) => Q(b, h, row, i) * K(b, shared, key, i));
      return (softcap > 0 ? softcap * Math.tanh(raw / softcap) : raw) + bias(b, h, row, key);
    });
    const shares = softmax(scores, sink?.(h));
    return sum(keys, (key) => (shares[key] === 0 ? 0 : shares[key]! * V(b, shared, key, d)));
  });
}

/** [batch, rows, heads · size] as [batch, heads, rows, size], from a column on. */
export function heads(x: Tensor, count: number, size: number, from = 0): Tensor {
  const X = at(x);
  return byIndex([x.shape[0]!, count, x.shape[1]!, size], (b, h, row, i) => X(b, row, from + h * size + i));
}

/** Turns pairs of the features of [batch, heads, rows, size] by the angles of positions. */
export function rotated(
  x: Tensor,
  cos: Tensor,
  sin: Tensor,
  position: (b: number, row: number) => number,
  interleaved: boolean,
): Tensor {
  const [X, C, S] = [at(x), at(cos), at(sin)];
  const half = cos.shape[1]!;
  return byIndex(x.shape, (b, h, row, i) => {
    if (i >= 2 * half) return X(b, h, row, i);
    const pair = interleaved ? i >> 1 : i % half;
    const second = interleaved ? i % 2 === 1 : i >= half;
    const other = interleaved ? (second ? i - 1 : i + 1) : second ? i - half : i + half;
    const [c, s] = [C(position(b, row), pair), S(position(b, row), pair)];
    return X(b, h, row, i) * c + (second ? 1 : -1) * X(b, h, row, other) * s;
  });
}
