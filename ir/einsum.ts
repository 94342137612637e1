/** Products of tensors in the notations people write them: matmul with batch broadcasting, einsum. Both become dotGeneral. */

import {
  axesOf,
  broadcastTo,
  expandDims,
  moveAxis,
  np,
  permute,
  rankOf,
  reshapeTo,
  squeeze,
  sum,
  where,
} from "./build.js";
import type { Dim } from "./dim.js";
import { ModelError } from "./errors.js";
import { typeText, type Value } from "./graph.js";
import { broadcastShapes, mergeDims } from "./infer.js";
import { constantLike, iota } from "./ops/constant.js";
import { dotGeneral } from "./ops/contraction.js";
import { mul } from "./ops/elementwise.js";

const upTo = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

/**
 * Matrix product with numpy's rules: [..., m, k] · [..., k, n] with broadcast leading axes; a vector counts as a row on the left
 * and as a column on the right, and its axis disappears.
 */
export function matmul(a: Value, b: Value): Value {
  if (rankOf(a) === 0 || rankOf(b) === 0) {
    throw new ModelError({
      message: `matmul of ${typeText(a.type)} and ${typeText(b.type)}: a scalar is no matrix`,
      hint: "use np.mul",
    });
  }
  if (rankOf(a) === 1 && rankOf(b) === 1) {
    return dotGeneral([a, b], { batchA: [], batchB: [], contractA: [0], contractB: [0] });
  }
  if (rankOf(a) === 1) return squeeze(matmul(expandDims(a, 0), b), -2);
  // One plain matrix on the right: all leading axes of a are rows of one product.
  if (rankOf(b) <= 2) {
    return dotGeneral([a, b], { batchA: [], batchB: [], contractA: [rankOf(a) - 1], contractB: [0] });
  }
  const batch = broadcastShapes(a.type.shape.slice(0, -2), b.type.shape.slice(0, -2));
  const left = broadcastTo(a, [...batch, ...a.type.shape.slice(-2)]);
  const right = broadcastTo(b, [...batch, ...b.type.shape.slice(-2)]);
  const axes = upTo(batch.length);
  return dotGeneral([left, right], {
    batchA: axes,
    batchB: axes,
    contractA: [batch.length + 1],
    contractB: [batch.length],
  });
}

interface Labelled {
  readonly value: Value;
  readonly labels: readonly string[];
}

/**
 * Einstein summation: `einsum("bij,bjk->bik", a, b)`. Labels are letters; `...` stands for leading axes that broadcast; a label
 * used twice in one operand takes the diagonal; without `->` the labels used once are kept in alphabetical order. Operands are
 * contracted from left to right.
 */
export function einsum(equation: string, ...operands: readonly Value[]): Value {
  const fail = (what: string): never => {
    throw new ModelError(`einsum "${equation}" of ${operands.map((v) => typeText(v.type)).join(", ")}: ${what}`);
  };
  const [left, right, ...more] = equation.replaceAll(/\s/g, "").split("->");
  if (left === undefined || more.length > 0) return fail("an equation has the form inputs->result");
  const inputs = left.split(",");
  if (inputs.length !== operands.length) return fail(`it names ${inputs.length} operands`);
  const dots = Math.max(
    0,
    ...inputs.map((term, i) => (term.includes("...") ? rankOf(operands[i]!) - (term.length - 3) : 0)),
  );
  const expand = (term: string, count: number): string[] => {
    const labels = term.replace("...", "\0").split("");
    for (const l of labels) if (!/[A-Za-z\0]/.test(l)) fail(`"${l}" is not a label`);
    // Axes of the ellipsis are numbered from the right, so that they align.
    return labels.flatMap((l) => (l === "\0" ? upTo(count).map((i) => `${count - i}`) : [l]));
  };
  const sizes = new Map<string, Dim>();
  let terms: Labelled[] = operands.map((value, i) => {
    const term = inputs[i]!;
    const labels = expand(term, term.includes("...") ? rankOf(value) - (term.length - 3) : 0);
    if (labels.length !== rankOf(value)) fail(`"${term}" has ${labels.length} labels for ${typeText(value.type)}`);
    labels.forEach((l, a) => {
      const d = value.type.shape[a]!;
      const known = sizes.get(l);
      if (known === undefined || known === 1) sizes.set(l, d);
      else if (d !== 1)
        sizes.set(
          l,
          mergeDims(known, d, () => fail(`label "${l}" has sizes ${known} and ${d}`)),
        );
    });
    return { value, labels };
  });
  const all = terms.flatMap((t) => t.labels);
  const implicit = [...new Set(all)].filter((l) => !/\d/.test(l) && all.indexOf(l) === all.lastIndexOf(l)).sort();
  const result = right === undefined ? [...expand("...", dots), ...implicit] : expand(right, dots);
  for (const l of result) if (!sizes.has(l)) fail(`"${l}" is in no operand`);
  if (new Set(result).size !== result.length) fail("the result names a label twice");

  terms = terms.map((t) => diagonal(t, sizes));
  let total = terms[0] ?? fail("it has no operands");
  terms.slice(1).forEach((next, i) => {
    const later = new Set([...result, ...terms.slice(i + 2).flatMap((t) => t.labels)]);
    total = product(total, next, later);
  });
  total = sumOut(total, new Set(result));
  const ordered = permute(
    total.value,
    result.map((l) => total.labels.indexOf(l)),
  );
  return broadcastTo(
    ordered,
    result.map((l) => sizes.get(l)!),
  );
}

/** Repeated labels of one operand become one axis: everything off the diagonal is masked out and summed. */
function diagonal(t: Labelled, sizes: ReadonlyMap<string, Dim>): Labelled {
  const twice = t.labels.findIndex((l, i) => t.labels.indexOf(l) < i);
  if (twice < 0) return t;
  const first = t.labels.indexOf(t.labels[twice]!);
  const size = sizes.get(t.labels[twice]!)!;
  const shape = [size, size];
  const counter = (axis: number) => iota([], { dtype: "i32", shape, axis });
  const moved = moveAxis(moveAxis(t.value, twice, -1), first, -1);
  const masked = where(np.eq(counter(0), counter(1)), moved, constantLike(moved, 0));
  const labels = t.labels.filter((_, i) => i !== first && i !== twice);
  return diagonal({ value: sum(masked, -1), labels: [...labels, t.labels[twice]!] }, sizes);
}

/** Sums the axes that nothing needs any more. */
function sumOut(t: Labelled, needed: ReadonlySet<string>): Labelled {
  const gone = axesOf(t.value, undefined).filter((a) => !needed.has(t.labels[a]!));
  if (gone.length === 0) return t;
  return { value: sum(t.value, gone), labels: t.labels.filter((l) => needed.has(l)) };
}

/** Product of two terms; shared labels that nothing needs later are contracted. */
function product(a: Labelled, b: Labelled, later: ReadonlySet<string>): Labelled {
  const x = sumOut(stretch(a, b), new Set([...b.labels, ...later]));
  const y = sumOut(stretch(b, a), new Set([...a.labels, ...later]));
  const shared = x.labels.filter((l) => y.labels.includes(l));
  const batch = shared.filter((l) => later.has(l));
  const contract = shared.filter((l) => !later.has(l));
  const at = (t: Labelled, labels: readonly string[]) => labels.map((l) => t.labels.indexOf(l));
  const labels = [
    ...batch,
    ...x.labels.filter((l) => !shared.includes(l)),
    ...y.labels.filter((l) => !shared.includes(l)),
  ];
  if (contract.length === 0 && labels.length === batch.length) {
    return { value: mul([permute(x.value, at(x, labels)), permute(y.value, at(y, labels))]), labels };
  }
  const value = dotGeneral([x.value, y.value], {
    batchA: at(x, batch),
    batchB: at(y, batch),
    contractA: at(x, contract),
    contractB: at(y, contract),
  });
  return { value, labels };
}

/** Axes of size 1 that the partner has with another size drop out: they broadcast. */
function stretch(a: Labelled, b: Labelled): Labelled {
  const drop = a.labels.filter((l, i) => {
    const other = b.labels.indexOf(l);
    return a.value.type.shape[i] === 1 && other >= 0 && b.value.type.shape[other] !== 1;
  });
  if (drop.length === 0) return a;
  const kept = a.labels.filter((l) => !drop.includes(l));
  return {
    value: reshapeTo(
      a.value,
      kept.map((l) => a.value.type.shape[a.labels.indexOf(l)]!),
    ),
    labels: kept,
  };
}

/**
 * x · Wᵀ + b over the last axis of x, with W [out, in] and b [out] as PyTorch stores them.
 */
export function linear(x: Value, weight: Value, bias?: Value): Value {
  const y = dotGeneral([x, weight], { batchA: [], batchB: [], contractA: [rankOf(x) - 1], contractB: [1] });
  return bias === undefined ? y : np.add(y, bias);
}
