/** Determinants. */
import { broadcastTo, expandDims, full, np, reshapeTo, sliceAxis, squeeze, takeAt, where } from "../../../ir/build.js";
import { scanOp } from "../../../ir/control-build.js";
import { type Dim, dimDiffers } from "../../../ir/dim.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { iota } from "../../../ir/ops/constant.js";
import { abs, mul } from "../../../ir/ops/elementwise.js";
import { gather, gatherElements } from "../../../ir/ops/indexing.js";
import { productOf } from "../../../ir/ops/movement.js";
import { argMax } from "../../../ir/ops/reduce.js";
import type { ImportOp } from "../context.js";

/** Larger matrices are eliminated in a loop. */
const MOST_ROWS = 8;

/** Gaussian elimination with the largest pivot of each column; the determinant is the product of the pivots. */
function smallDet(x: Value, n: number): Value {
  const batch = x.type.shape.slice(0, -2);
  const count = productOf(batch);
  const { dtype } = x.type;
  let rest = reshapeTo(x, [count, n, n]);
  let product = full(dtype, [count], 1);
  for (let size = n; size > 0; size--) {
    const column = takeAt(rest, 2, 0);
    const at = reshapeTo(argMax([abs([column])], { axis: 1, keepDims: false }), [count, 1, 1]);
    const pivotRow = gatherElements([rest, broadcastTo(at, [count, 1, size])], { axis: 1 });
    const firstRow = sliceAxis(rest, 1, 0, 1);
    const pivot = takeAt(takeAt(pivotRow, 1, 0), 1, 0);
    const swapped = np.ne(reshapeTo(at, [count]), 0);
    product = mul([product, where(swapped, np.sub(np.mul(pivot, 0), pivot), pivot)]);
    if (size === 1) break;
    // The first row takes the pivot row's place; the pivot row leaves.
    const row = iota([], { dtype: "i64", shape: [1, size, 1], axis: 1 });
    const others = sliceAxis(where(np.eq(row, at), firstRow, rest), 1, 1, size - 1);
    const safe = where(np.eq(pivot, 0), 1, pivot);
    const factors = np.div(sliceAxis(others, 2, 0, 1), reshapeTo(safe, [count, 1, 1]));
    rest = sliceAxis(np.sub(others, np.mul(factors, pivotRow)), 2, 1, size - 1);
  }
  return reshapeTo(product, batch);
}

/** The same in a loop over the columns: rows above the one at hand stay as they are. */
function loopedDet(x: Value, n: Dim): Value {
  const batch = x.type.shape.slice(0, -2);
  const count = productOf(batch);
  const { dtype } = x.type;
  const row = iota([], { dtype: "i64", shape: [1, n, 1], axis: 1 });
  const steps = iota([], { dtype: "i64", shape: [n], axis: 0 });
  const start = [reshapeTo(x, [count, n, n]), full(dtype, [count], 1)];
  const { carried } = scanOp({ carried: start, inputs: [steps], length: n }, ([rest, product], [k]) => {
    const at = k!;
    const column = gather([rest!, at], { axis: 2 });
    const below = np.ge(reshapeTo(row, [1, n]), at);
    const best = argMax([where(below, abs([column]), -1)], { axis: 1, keepDims: false });
    const chosen = reshapeTo(best, [count, 1, 1]);
    const pivotRow = gatherElements([rest!, broadcastTo(chosen, [count, 1, n])], { axis: 1 });
    const own = expandDims(gather([rest!, at], { axis: 1 }), 1);
    // The two rows change places.
    const swapped = where(np.eq(row, at), pivotRow, where(np.eq(row, chosen), own, rest!));
    const pivot = gather([squeeze(pivotRow, 1), at], { axis: 1 });
    const safe = where(np.eq(pivot, 0), 1, pivot);
    const factors = np.div(expandDims(gather([swapped, at], { axis: 2 }), 2), reshapeTo(safe, [count, 1, 1]));
    const next = where(np.gt(row, at), np.sub(swapped, np.mul(factors, pivotRow)), swapped);
    const signed = where(np.eq(best, at), pivot, np.sub(np.mul(pivot, 0), pivot));
    return { carried: [next, mul([product!, signed])] };
  });
  return reshapeTo(carried[1]!, batch);
}

export const det: ImportOp = (c) => {
  const x = c.input(0);
  const [n, m] = x.type.shape.slice(-2) as [Dim | undefined, Dim | undefined];
  if (n === undefined || m === undefined || dimDiffers(n, m))
    throw c.error(`the matrices should be square, but are ${typeText(x.type)}`);
  return typeof n === "number" && n === m && n <= MOST_ROWS ? smallDet(x, n) : loopedDet(x, n);
};
