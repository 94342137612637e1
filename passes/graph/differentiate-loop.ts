/**
 * The gradient of a loop with a bound on its rounds: that of a scan of so many steps, of which those after the loop's end keep what
 * is carried.
 *
 *   loop(n, c, x){ body }  =  scan(0, c, x){ i, c, x → if (c and i < n) body(i, c, x) else (c, x, 0) }
 */

import { np } from "../../ir/build.js";
import { type Dim, dimSymbols } from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { graph, param, paramName, type Value } from "../../ir/graph.js";
import type { VjpContext } from "../../ir/op.js";
import { constantLike, scalarConstant } from "../../ir/ops/constant.js";
import { ifElse, type LoopAttrs, scan } from "../../ir/ops/control.js";
import { slice } from "../../ir/ops/movement.js";
import { bigElement } from "../../ir/tensor.js";
import type { pullback } from "./differentiate.js";

type Context = Omit<VjpContext<LoopAttrs>, "dy">;

export function differentiateLoop(context: Context, back: typeof pullback): readonly (Value | undefined)[] {
  const { operands, dys, needs } = context;
  const wanted = operands.filter((v, i) => needs[i]! && isFloat(v.type.dtype));
  const found = new Map(back(asScan(context), dys, wanted).map((d, i) => [wanted[i]!, d]));
  return operands.map((v) => found.get(v));
}

/** Rounds that the loop makes at most. */
function boundOf({ attrs: { trips }, operands: [tripCount] }: Context): Dim | undefined {
  const { def } = tripCount!;
  const most = def.op === "constant" ? bigElement(def.attrs.value, 0) : undefined;
  // What a loop without a trip count has is no bound.
  const known = most !== undefined && most < 2n ** 31n ? Math.max(0, Number(most)) : undefined;
  if (trips === undefined || typeof trips === "number") return trips ?? known;
  return known ?? dimSymbols(trips).get(trips.key)?.bound;
}

/** The results of the loop by a scan. */
function asScan(context: Context): readonly Value[] {
  const { node, operands, results, attrs } = context;
  const where = node.loc ?? node.op;
  const length = boundOf(context);
  if (length === undefined) {
    throw new ModelError({
      where,
      message: "a loop has no gradient unless the number of its rounds has a bound",
      hint: "give it a constant trip count (maxTrips of F.whileLoop), use a scan, or put a stopGradient behind it",
    });
  }
  if (attrs.shapes !== undefined) {
    throw new ModelError({ where, message: "a loop has no gradient where what it carries changes its size" });
  }
  const [tripCount, condition, ...values] = operands as readonly [Value, Value, ...Value[]];
  const body = node.regions[0]!;
  const { carried } = attrs;
  const params = body.params.map((p) => param(paramName(p), p.type));
  const limit = param("tripCount", tripCount.type);
  const [round, open, ...rest] = params as [Value, Value, ...Value[]];
  const kept = body.params.map((p) => param(paramName(p), p.type));
  const idle = [...kept.slice(1, 2 + carried), ...body.results.slice(1 + carried).map((r) => constantLike(r, 0))];
  const isActive = np.and(open, np.lt(round, limit));
  const next = ifElse([isActive, ...params], {}, [body, graph(`${body.name}_idle`, kept, idle)]);
  const step = graph(`${body.name}_step`, [round, open, ...rest, limit], [np.add(round, 1), ...next]);
  const all = scan(
    [scalarConstant("i64", 0), condition, ...values, tripCount],
    { carried: 2 + carried, inputs: 0, length, reverse: false },
    [step],
  ).slice(2);
  return all.map((v, i) => {
    const { shape } = results[i]!.type;
    // Rows of rounds that were not made are left out.
    return i < carried ? v : slice([v], { starts: shape.map(() => 0), sizes: shape, steps: shape.map(() => 1) });
  });
}
