/** Products of matrices: MatMul, Gemm, Einsum and their integer forms. */
import { asType, broadcastTo, constantLike, np, permute, rankOf, reshapeTo, sum } from "../../../ir/build.js";
import type { Dim } from "../../../ir/dim.js";
import { isInt } from "../../../ir/dtype.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { mergeDims } from "../../../ir/infer.js";
import { iota } from "../../../ir/ops/constant.js";
import { dotGeneral } from "../../../ir/ops/contraction.js";
import type { ImportOp, NodeContext, OpRow } from "../context.js";
import { inF32 } from "./elementwise.js";
import { matmul } from "./products.js";
import { gemmOfDequantized, integerMatmul, matmulOfDequantized } from "./quantized.js";

/** α·A'·B' + β·C of matrices. */
const gemm: ImportOp = (c) => {
  const [a, b] = [c.input(0), c.input(1)];
  if (rankOf(a) !== 2 || rankOf(b) !== 2)
    throw c.error(`A and B should be matrices, but are ${typeText(a.type)} and ${typeText(b.type)}`);
  const exact = gemmOfDequantized(c);
  if (exact) return exact;
  const attrs = {
    batchA: [],
    batchB: [],
    contractA: [c.attrs.flag("transA", false) ? 0 : 1],
    contractB: [c.attrs.flag("transB", false) ? 1 : 0],
  };
  const alpha = c.attrs.float("alpha", 1);
  const beta = c.attrs.float("beta", 1);
  const bias = beta === 0 ? undefined : c.optional(2);
  return inF32([a, b, ...(bias ? [bias] : [])], ([x, y, z]) => {
    const made = dotGeneral([x!, y!], attrs);
    const scaled = alpha === 1 ? made : np.mul(made, constantLike(made, alpha));
    if (z === undefined) return scaled;
    return np.add(scaled, broadcastTo(beta === 1 ? z : np.mul(z, constantLike(z, beta)), made.type.shape));
  });
};

const matmulInteger: ImportOp = (c) => integerMatmul(c.input(0), c.optional(2), c.input(1), c.optional(3));

interface Term {
  readonly value: Value;
  /** One label an axis; equal labels are equal sizes. */
  readonly labels: string;
}

/** Labels of an operand, the ellipsis written out as digits aligned at its end. */
function expandEllipsis(c: NodeContext, term: string, rank: number, width: number): string {
  const dots = term.indexOf("...");
  if (dots < 0) {
    if (term.length !== rank)
      throw c.error(`the term "${term}" of the equation names ${term.length} axes of an operand with ${rank}`);
    return term;
  }
  const count = rank - (term.length - 3);
  if (count < 0) throw c.error(`the term "${term}" of the equation names more axes than the operand's ${rank}`);
  const digits = Array.from({ length: count }, (_, i) => String.fromCharCode(0xe000 + width - count + i)).join("");
  return term.slice(0, dots) + digits + term.slice(dots + 3);
}

/** Keeps the diagonal of axes that bear one label: multiplies by the identity and sums. */
function takeDiagonals({ value, labels }: Term): Term {
  for (let i = 0; i < labels.length; i++) {
    const j = labels.indexOf(labels[i]!, i + 1);
    if (j < 0) continue;
    const size = mergeDims(value.type.shape[i]!, value.type.shape[j]!);
    const { shape } = value.type;
    const at = (axis: number) =>
      broadcastTo(
        reshapeTo(
          indexVector(size),
          shape.map((_, a) => (a === axis ? size : 1)),
        ),
        shape,
      );
    const masked = np.mul(value, asType(np.eq(at(i), at(j)), value.type.dtype));
    return takeDiagonals({ value: sum(masked, j), labels: labels.slice(0, j) + labels.slice(j + 1) });
  }
  return { value, labels };
}

const indexVector = (size: Dim): Value => iota([], { dtype: "i32", shape: [size], axis: 0 });

/** Sums labels that nobody else needs. */
function sumUnused({ value, labels }: Term, needed: ReadonlySet<string>): Term {
  const axes = [...labels].flatMap((l, i) => (needed.has(l) ? [] : [i]));
  return axes.length === 0
    ? { value, labels }
    : { value: sum(value, axes), labels: [...labels].filter((l) => needed.has(l)).join("") };
}

/** The product of two terms, summed over labels that are not needed later. */
function contract(a: Term, b: Term, needed: ReadonlySet<string>): Term {
  const shared = [...a.labels].filter((l) => b.labels.includes(l));
  const sizes = new Map<string, Dim>();
  for (const t of [a, b])
    [...t.labels].forEach((l, i) => {
      const d = t.value.type.shape[i]!;
      const old = sizes.get(l);
      sizes.set(l, old === undefined || old === 1 ? d : d === 1 ? old : mergeDims(old, d));
    });
  // Size 1 against a larger size broadcasts (ellipsis axes may).
  const widen = (t: Term) =>
    broadcastTo(
      t.value,
      [...t.labels].map((l) => (shared.includes(l) ? sizes.get(l)! : t.value.type.shape[t.labels.indexOf(l)]!)),
    );
  const batch = shared.filter((l) => needed.has(l));
  const gone = shared.filter((l) => !needed.has(l));
  const axesOf = (t: Term, labels: readonly string[]) => labels.map((l) => t.labels.indexOf(l));
  const value = dotGeneral([widen(a), widen(b)], {
    batchA: axesOf(a, batch),
    batchB: axesOf(b, batch),
    contractA: axesOf(a, gone),
    contractB: axesOf(b, gone),
  });
  const rest = (t: Term) => [...t.labels].filter((l) => !shared.includes(l));
  return { value, labels: [...batch, ...rest(a), ...rest(b)].join("") };
}

const einsum: ImportOp = (c) => {
  const equation = c.attrs.requiredString("equation").replaceAll(" ", "");
  const [left = "", right] = equation.split("->");
  const inputs = left.split(",");
  const values = c.values();
  if (inputs.length !== values.length)
    throw c.error(`the equation "${equation}" has ${inputs.length} terms for ${values.length} inputs`);
  const widths = inputs.map((t, i) => (t.includes("...") ? rankOf(values[i]!) - (t.length - 3) : 0));
  const width = Math.max(0, ...widths);
  const labels = inputs.map((t, i) => expandEllipsis(c, t, rankOf(values[i]!), width));
  const counts = new Map<string, number>();
  for (const l of labels.join("")) counts.set(l, (counts.get(l) ?? 0) + 1);
  const ellipsis = Array.from({ length: width }, (_, i) => String.fromCharCode(0xe000 + i)).join("");
  const implicit =
    ellipsis +
    [...counts]
      .filter(([l, n]) => n === 1 && l < "\ue000")
      .map(([l]) => l)
      .sort()
      .join("");
  const result = right === undefined ? implicit : right.replace("...", ellipsis);
  for (const l of result)
    if (!counts.has(l))
      throw c.error(`the result of the equation "${equation}" names the axis ${l}, which no input has`);
  const terms = values.map((value, i) => takeDiagonals({ value, labels: labels[i]! }));
  let acc: Term | undefined;
  terms.forEach((term, i) => {
    const later = new Set([...result, ...terms.slice(i + 1).flatMap((t) => [...t.labels])]);
    if (acc === undefined) acc = sumUnused(term, later);
    else {
      const own = new Set([...later, ...acc.labels]);
      acc = contract(acc, sumUnused(term, own), later);
      acc = sumUnused(acc, later);
    }
  });
  const { value, labels: order } = acc!;
  return permute(
    value,
    [...result].map((l) => order.indexOf(l)),
  );
};

export const contraction = {
  MatMul: (c) => {
    const [a, b] = [c.input(0), c.input(1)];
    const exact = matmulOfDequantized(c);
    if (exact) return exact;
    const narrow = isInt(a.type.dtype) && a.type.dtype.endsWith("8");
    return narrow ? asType(matmul(asType(a, "i32"), asType(b, "i32")), a.type.dtype) : matmul(a, b);
  },
  Gemm: gemm,
  MatMulInteger: matmulInteger,
  Einsum: einsum,
} as const satisfies Readonly<Record<string, OpRow>>;
