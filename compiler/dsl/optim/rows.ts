/**
 * Gradients that touch some rows of a table (embeddings), as these rows: PyTorch's sparse gradients. A rule that works element by
 * element sees the rows of the parameter and of its state that a batch used, and only these change.
 *
 * A batch may use a row several times. Rows are therefore summed first, each in the place of one of its uses (PyTorch's coalesce): a
 * table of one number for each row of the parameter says which use that is. All uses of a row then compute the same new values.
 */

import { asType, concatenate, np, reshapeTo } from "../../../ir/build.js";
import { type Dim, dimBounds, dimMul } from "../../../ir/dim.js";
import { sameShape, type Value } from "../../../ir/graph.js";
import { full, iota } from "../../../ir/ops/constant.js";
import { gather, scatterND } from "../../../ir/ops/indexing.js";
import { splatOf } from "../../../passes/pattern.js";

/** Rows that are added to a table of zeros. */
interface Uses {
  /** [uses] */
  readonly indices: Value;
  /** [uses, …row] */
  readonly rows: Value;
}

/** The rows that a gradient consists of; undefined where it is not made of rows. */
export function usesOf(gradient: Value): Uses | undefined {
  const { def } = gradient;
  switch (def.op) {
    case "scatterND": {
      const [base, indices, rows] = def.operands as readonly [Value, Value, Value];
      if (def.attrs.reduction !== "add" || indices.type.shape.at(-1) !== 1) return undefined;
      const count = indices.type.shape.slice(0, -1).reduce<Dim>((n, d) => dimMul(n, d), 1);
      const own: Uses = {
        indices: reshapeTo(indices, [count]),
        rows: reshapeTo(rows, [count, ...gradient.type.shape.slice(1)]),
      };
      if (splatOf(base)?.value === 0) return own;
      const others = usesOf(base);
      return others && joined(others, own);
    }
    case "add": {
      const [a, b] = def.operands.map(usesOf);
      return a && b && joined(a, b);
    }
    case "mul": {
      for (const [i, x] of def.operands.entries()) {
        const other = def.operands[1 - i]!;
        if (other.def.op !== "broadcast" || !sameShape(other.def.operands[0]!.type.shape, [])) continue;
        const uses = usesOf(x);
        if (uses) return { ...uses, rows: np.mul(uses.rows, other.def.operands[0]!) };
      }
      return undefined;
    }
    default:
      return undefined;
  }
}

const joined = (a: Uses, b: Uses): Uses => ({
  indices: concatenate([asType(a.indices, "i64"), asType(b.indices, "i64")], 0),
  rows: concatenate([a.rows, b.rows], 0),
});

/** Whether there are, for sure, many fewer uses than the table has rows. */
export function areFew({ indices }: Uses, table: Value): boolean {
  const [most, count] = [dimBounds(indices.type.shape[0]!).max, dimBounds(table.type.shape[0]!).min];
  return 4 * most <= count;
}

/** The summed rows of a gradient, and where they belong. */
export class Rows {
  /** [uses, …row]: each row's sum at one of its uses, zeros at the others. Its norms are those of the whole gradient. */
  readonly sums: Value;
  /** [uses, 1]: in whose place the row of each use is summed. */
  readonly #place: Value;
  readonly #indices: Value;

  constructor({ indices, rows }: Uses, table: Value) {
    const uses = rows.type.shape[0]!;
    const own = iota([], { dtype: "i32", shape: [uses], axis: 0 });
    this.#indices = reshapeTo(indices, [uses, 1]);
    const none = full("i32", [table.type.shape[0]!], 0);
    const winners = scatterND([none, this.#indices, own], { reduction: "none" });
    this.#place = gather([winners, indices], { axis: 0 });
    const zeros = full(rows.type.dtype, rows.type.shape, 0);
    const places = reshapeTo(this.#place, [uses, 1]);
    this.sums = scatterND([zeros, places, rows], { reduction: "add", checked: true });
  }

  /** Sums that stand at one use of each row, at all of them. */
  atAllUses(sums: Value): Value {
    return gather([sums, this.#place], { axis: 0, checked: true });
  }

  /** The rows of a table of which the gradient has some. */
  of(table: Value): Value {
    return gather([table, reshapeTo(this.#indices, [this.#indices.type.shape[0]!])], { axis: 0 });
  }

  /** The table with these rows instead. */
  into(table: Value, rows: Value): Value {
    return scatterND([table, this.#indices, rows], { reduction: "none" });
  }
}
