/** What recognising rules ask of values, in the form that `simplify` leaves: statistics of rows, polynomials, scaled products. */

import { permute, reshapeTo } from "../../ir/build.js";
import { dimEqual } from "../../ir/dim.js";
import { type Shape, sameShape, type Value } from "../../ir/graph.js";
import { remake } from "../../ir/graph-rebuild.js";
import { productOf } from "../../ir/ops/movement.js";
import { splatOf } from "../pattern.js";

/** Whether two constants are the same number written by different programs: nearer than some roundings of f32. */
export const isNear = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-6 * Math.abs(b);

export const isSplat = (v: Value, want: number): boolean => splatOf(v)?.value === want;

const largerThanOne = (shape: Shape): Shape => shape.filter((d) => d !== 1);

/** The value before reshapes that only add or drop axes of size 1. */
export function squeezed(v: Value): Value {
  let at = v;
  while (at.def.op === "reshape") {
    const inner = at.def.operands[0]!;
    if (!sameShape(largerThanOne(inner.type.shape), largerThanOne(at.type.shape))) break;
    at = inner;
  }
  return at;
}

/** What a value repeats, and the axes along which that varies; undefined where nothing is repeated. */
export function repeated(v: Value): { readonly inner: Value; readonly axes: readonly number[] } | undefined {
  if (v.def.op !== "broadcast") return undefined;
  const inner = v.def.operands[0]!;
  const axes = v.def.attrs.axes.filter((_, i) => inner.type.shape[i] !== 1);
  return { inner: squeezed(inner), axes };
}

/** The axes of a shape that are left after reducing some, those of size 1 aside. */
const keptAxes = (shape: Shape, reduced: readonly number[]): readonly number[] =>
  shape.flatMap((d, a) => (d === 1 || reduced.includes(a) ? [] : [a]));

/** Whether what varies along `axes` of a shape is a reduction over `reduced`, put back in place. */
export const standsFor = (axes: readonly number[], shape: Shape, reduced: readonly number[]): boolean => {
  const kept = keptAxes(shape, reduced);
  return kept.length === axes.length && kept.every((a, i) => a === axes[i]);
};

interface Reduced {
  readonly x: Value;
  readonly axes: readonly number[];
}

/** A reduction by `op`, axes of size 1 aside. */
export function reducedBy(op: "sum" | "reduceMax", v: Value): Reduced | undefined {
  const { def } = squeezed(v);
  return def.op === op ? { x: def.operands[0]!, axes: def.attrs.axes } : undefined;
}

/** Σx / n or Σx · (1/n) over axes of n elements. */
export function meanBy(v: Value): Reduced | undefined {
  const { def } = squeezed(v);
  if (def.op !== "mul" && def.op !== "div") return undefined;
  const [total, by] = def.operands as [Value, Value];
  const found = reducedBy("sum", total);
  if (found === undefined) return undefined;
  const count = productOf(found.axes.map((a) => found.x.type.shape[a]!));
  const c = splatOf(by)?.value;
  if (c !== undefined)
    return typeof count === "number" && isNear(def.op === "div" ? c : 1 / c, count) ? found : undefined;
  const size = squeezed(repeated(by)?.inner ?? by).def;
  if (def.op !== "div" || size.op !== "cast" || size.operands[0]!.def.op !== "dimSize") return undefined;
  return dimEqual(size.operands[0]!.def.attrs.size, count) ? found : undefined;
}

/** Coefficients of v as a polynomial in x, the constant first; undefined if it is none of degree 3 or less. */
export function polynomial(v: Value, x: Value, depth = 8): readonly number[] | undefined {
  if (v === x) return [0, 1];
  const c = splatOf(v);
  if (c !== undefined) return [c.value];
  const { def } = v;
  if (def.op === "param" || depth === 0) return undefined;
  const part = (i: number) => polynomial(def.operands[i]!, x, depth - 1);
  switch (def.op) {
    case "add":
    case "sub": {
      const [a, b] = [part(0), part(1)];
      return a && b && plus(a, def.op === "add" ? b : b.map((k) => -k));
    }
    case "mul": {
      const [a, b] = [part(0), part(1)];
      return a && b && times(a, b);
    }
    case "div": {
      const [a, b] = [part(0), splatOf(def.operands[1]!)];
      return b && a?.map((k) => k / b.value);
    }
    case "neg":
      return part(0)?.map((k) => -k);
    case "pow": {
      const [a, e] = [part(0), splatOf(def.operands[1]!)?.value];
      if (!a || (e !== 2 && e !== 3)) return undefined;
      const square = times(a, a);
      return e === 2 ? square : square && times(square, a);
    }
    default:
      return undefined;
  }
}

const plus = (a: readonly number[], b: readonly number[]): readonly number[] =>
  Array.from({ length: Math.max(a.length, b.length) }, (_, i) => (a[i] ?? 0) + (b[i] ?? 0));

function times(a: readonly number[], b: readonly number[]): readonly number[] | undefined {
  if (a.length + b.length > 5) return undefined;
  const out = new Array<number>(a.length + b.length - 1).fill(0);
  a.forEach((p, i) => {
    b.forEach((q, j) => {
      out[i + j]! += p * q;
    });
  });
  return out;
}

/** Whether a polynomial has these coefficients, but for roundings. */
export const isPolynomial = (p: readonly number[] | undefined, want: readonly number[]): boolean =>
  p !== undefined && p.length === want.length && p.every((c, i) => (want[i] === 0 ? c === 0 : isNear(c, want[i]!)));

/** v as c · of, c a constant. */
export function scaledForm(v: Value): { readonly c: number; readonly of: Value } {
  let [c, of] = [1, v];
  while (of.def.op === "mul" || of.def.op === "div") {
    const by = splatOf(of.def.operands[1]!)?.value;
    if (by === undefined) break;
    c = of.def.op === "mul" ? c * by : c / by;
    of = of.def.operands[0]!;
  }
  return { c, of };
}

/** v as c · of, where constants may also stand before what only moves and repeats elements. */
export function scaledWithin(v: Value): { readonly c: number; readonly of: Value } {
  const { c, of } = scaledForm(v);
  const { def } = of;
  if (def.op !== "transpose" && def.op !== "reshape" && def.op !== "broadcast") return { c, of };
  const inner = scaledWithin(def.operands[0]!);
  if (inner.of === def.operands[0]) return { c, of };
  const moved = def.op === "transpose" ? permuted(inner.of, def.attrs.perm) : remake(def, [inner.of]).results[0]!;
  return { c: c * inner.c, of: moved };
}

/** v with its axes in another order, by one transpose at most. */
const permuted = (v: Value, perm: readonly number[]): Value =>
  v.def.op === "transpose" ? permute(v.def.operands[0]!, composed(v.def.attrs.perm, perm)) : permute(v, perm);

const composed = (inner: readonly number[], outer: readonly number[]): readonly number[] => outer.map((a) => inner[a]!);

/** v as c · x · f, in each way that its products allow. */
export function* productForms(v: Value): Generator<{ readonly c: number; readonly x: Value; readonly f: Value }> {
  const outer = scaledForm(v);
  if (outer.of.def.op !== "mul") return;
  const [p, q] = outer.of.def.operands as [Value, Value];
  for (const [a, b] of [
    [p, q],
    [q, p],
  ] as const) {
    const f = scaledForm(b);
    const x = scaledForm(a);
    yield { c: outer.c * f.c, x: a, f: f.of };
    if (x.of !== a) yield { c: outer.c * f.c * x.c, x: x.of, f: f.of };
  }
}

/** v, broadcast or not, as what varies along the axes from `first` on only, shaped to broadcast with these. */
export function trailingPart(v: Value, first: number): Value | undefined {
  const { shape } = v.type;
  const found = repeated(v) ?? { inner: v, axes: keptAxes(shape, []) };
  if (found.axes.some((a) => a < first)) return undefined;
  return reshapeTo(
    found.inner,
    shape.slice(first).map((d, i) => (found.axes.includes(first + i) ? d : 1)),
  );
}
