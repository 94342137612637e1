/** Softmax and attention in the steps that exporters write. */

import { full, np, permute, reshapeTo, where } from "../../ir/build.js";
import { dimEqual } from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import type { Shape, Value } from "../../ir/graph.js";
import { attention } from "../../ir/ops/attention.js";
import { freeAxes } from "../../ir/ops/contraction.js";
import { not } from "../../ir/ops/logic.js";
import { logSoftmax, softmax } from "../../ir/ops/softmax.js";
import { any, type NodeNamed, node, op, type Rule, rule, splatOf } from "../pattern.js";
import { reducedBy, repeated, scaledForm, scaledWithin, standsFor } from "./forms.js";

/** The reduction of `of` over one axis that v repeats along this axis. */
function rowwise(v: Value, name: "sum" | "reduceMax", of: Value): number | undefined {
  const spread = repeated(v);
  const found = spread && reducedBy(name, spread.inner);
  if (found?.x !== of || found.axes.length !== 1) return undefined;
  return standsFor(spread!.axes, of.type.shape, found.axes) ? found.axes[0] : undefined;
}

/** x and the axis where s is x − max x. */
function shiftedForm(s: Value): { readonly x: Value; readonly axis: number } | undefined {
  if (s.def.op !== "sub") return undefined;
  const [x, by] = s.def.operands as [Value, Value];
  const axis = rowwise(by, "reduceMax", x);
  return axis === undefined ? undefined : { x, axis };
}

const softmaxes: readonly Rule[] = [
  // e^(x − max x) / Σ e^(x − max x) → softmax(x)
  rule("recognize-softmax", op("div", [op("exp", [any("s")], "e"), any("by")]), ({ s, e, by }) => {
    const shifted = shiftedForm(s);
    const axis = rowwise(by, "sum", e.results[0]!);
    return shifted !== undefined && shifted.axis === axis ? softmax([shifted.x], { axis }) : undefined;
  }),
  // log(softmax(x)) → logSoftmax(x), which takes no log of an underflow
  rule("recognize-log-of-softmax", op("log", [op("softmax", [any("x")], "s")]), ({ x, s }) => logSoftmax([x], s.attrs)),
  // (x − max x) − log Σ e^(x − max x) → logSoftmax(x)
  rule("recognize-log-softmax", op("sub", [any("s"), any("by")]), ({ s, by }) => {
    const shifted = shiftedForm(s);
    const spread = repeated(by);
    if (shifted === undefined || spread?.inner.def.op !== "log") return undefined;
    const total = reducedBy("sum", spread.inner.def.operands[0]!);
    const e = total?.x.def;
    const { axis } = shifted;
    const fits = e?.op === "exp" && e.operands[0] === s && total!.axes.join() === String(axis);
    return fits && standsFor(spread.axes, s.type.shape, [axis]) ? logSoftmax([shifted.x], { axis }) : undefined;
  }),
];

type Scaled = ReturnType<typeof scaledWithin>;
type Dot = NodeNamed<"dotGeneral">;

/** An operand of the dot as [batch…, free, contracted], if it has one axis each of the last two. */
function rowsOf(d: Dot, which: 0 | 1): Value | undefined {
  const v = d.operands[which]!;
  const batch = which === 0 ? d.attrs.batchA : d.attrs.batchB;
  const contract = which === 0 ? d.attrs.contractA : d.attrs.contractB;
  const free = freeAxes(v.type.shape.length, batch, contract);
  return free.length === 1 && contract.length === 1 ? permute(v, [...batch, ...free, ...contract]) : undefined;
}

/** A mask shaped to broadcast with the scores. */
function narrow(mask: Value, scores: Shape): Value {
  const spread = repeated(mask);
  return spread === undefined
    ? mask
    : reshapeTo(
        spread.inner,
        scores.map((d, a) => (spread.axes.includes(a) ? d : 1)),
      );
}

interface Masked {
  readonly scores: Value;
  readonly mask?: Value;
}

/** Masks of masks that are looked for: positions, what lies ahead, padding. */
const mostMasks = 4;

/** What scores below this become is no score: exporters write the least float of some dtype, or −∞. */
const isHiding = (v: Value): boolean => (splatOf(v)?.value ?? 0) <= -1e30;

/** Both masks. Bools say what is kept. */
function bothMasks(a: Value | undefined, b: Value): Value {
  if (a === undefined) return b;
  const [isA, isB] = [a, b].map((m) => m.type.dtype === "bool");
  if (isA && isB) return np.and(a, b);
  return isA ? where(a, b, -Infinity) : isB ? where(b, a, -Infinity) : np.add(a, b);
}

/** Scores that are products, and what masks them; undefined if v is something else. */
function maskedForm(v: Value, most = mostMasks): Masked | undefined {
  const { def } = v;
  if (scaledForm(v).of.def.op === "dotGeneral") return { scores: v };
  if (most === 0) return undefined;
  const { shape, dtype } = v.type;
  const under = (of: Value, mask: () => Value): Masked | undefined => {
    const inner = maskedForm(of, most - 1);
    return inner && { scores: inner.scores, mask: bothMasks(inner.mask, mask()) };
  };
  if (def.op === "add") {
    const [a, b] = def.operands as [Value, Value];
    return under(a, () => narrow(b, shape)) ?? under(b, () => narrow(a, shape));
  }
  if (def.op !== "select") return undefined;
  const [c, a, b] = def.operands as [Value, Value, Value];
  const [kept, hidden] = isHiding(b) ? [a, b] : [b, a];
  if (!isHiding(hidden)) return undefined;
  const seen = () => (kept === a ? narrow(c, shape) : not([narrow(c, shape)]));
  // A row of which all is hidden is a row of equals, unless it is of −∞.
  const by = splatOf(hidden)!.value;
  return under(kept, () => (by === -Infinity ? seen() : where(seen(), full(dtype, [], 0), by)));
}

export const attentionRules: readonly Rule[] = [
  ...softmaxes,
  // softmax(s · q∗k + mask)∗v → attention(q, k, v, mask)
  rule("recognize-attention", op("dotGeneral", [node("softmax", "p"), any("v")], "n"), ({ p, v, n }) => {
    const rank = p.results[0]!.type.shape.length;
    if (p.attrs.axis !== rank - 1 && p.attrs.axis !== -1) return undefined;
    const masked = maskedForm(p.operands[0]!);
    if (masked === undefined) return undefined;
    const { scores, mask } = masked;
    const { c, of } = scaledForm(scores);
    const d = of.def;
    if (d.op !== "dotGeneral" || d.attrs.batchA.length !== rank - 2 || !isFloat(of.type.dtype)) return undefined;
    // The weights' axes are batch, rows, keys; the keys are summed over.
    const leading = n.attrs.batchA.every((a, i) => a === i) && n.attrs.batchA.length === rank - 2;
    if (!leading || n.attrs.contractA.join() !== String(rank - 1)) return undefined;
    const rows = [rowsOf(d, 0), rowsOf(d, 1)];
    const values = freeAxes(v.type.shape.length, n.attrs.batchB, n.attrs.contractB);
    if (rows[0] === undefined || rows[1] === undefined || values.length !== 1) return undefined;
    // Exporters scale the operands as well, each by the root.
    const [q, k] = rows.map((r) => scaledWithin(r!)) as [Scaled, Scaled];
    const [scale, query, key] = [c * q.c * k.c, q.of, k.of];
    const value = permute(v, [...n.attrs.batchB, ...n.attrs.contractB, ...values]);
    const sameBatch = [key, value].every((t) =>
      t.type.shape.slice(0, -2).every((size, a) => dimEqual(size, query.type.shape[a]!)),
    );
    const dtypes = [query, key, value, n.results[0]!].every((t) => t.type.dtype === of.type.dtype);
    if (!sameBatch || !dtypes || !dimEqual(key.type.shape.at(-2)!, value.type.shape.at(-2)!)) return undefined;
    return attention([query, key, value, ...(mask ? [mask] : [])], { scale, causal: false });
  }),
];
