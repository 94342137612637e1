/** What is known of integers and truths (passes/values) takes the place of computing them. */

import { dimSymbols } from "../../ir/dim.js";
import { isInt } from "../../ir/dtype.js";
import type { GraphNode, Value } from "../../ir/graph.js";
import { isStaticShape } from "../../ir/graph.js";
import { cast } from "../../ir/ops/cast.js";
import { elementwiseNames, reduceNames } from "../../ir/ops/classes.js";
import { dimSize } from "../../ir/ops/constant.js";
import { reshape } from "../../ir/ops/movement.js";
import { elementCount, scalar } from "../../ir/tensor.js";
import { any, node, op, type Rule, rule } from "../pattern.js";
import { contentsOf, dimOf, type Fact } from "../values/index.js";
import { filled } from "./build.js";

const each = (v: Value): Fact => contentsOf(v).each;

/** The number that every element is. */
function numberOf(v: Value): number | undefined {
  const { exact, computed } = each(v);
  return typeof exact === "number" && computed === undefined && Number.isSafeInteger(exact) ? exact : undefined;
}

const isWhole = ({ type: { dtype } }: Value): boolean => isInt(dtype) || dtype === "bool";

/** An integer of one element that is an expression over sizes of the inputs. */
function asSize(v: Value): Value | undefined {
  const { dtype, shape } = v.type;
  if (!isInt(dtype) || !isStaticShape(shape) || elementCount(shape) !== 1) return undefined;
  const size = dimOf(each(v));
  if (typeof size !== "object" || [...dimSymbols(size).values()].some((s) => s.bound !== undefined)) return undefined;
  const whole = dimSize([], { size });
  const typed = dtype === "i64" ? whole : cast([whole], { to: dtype });
  return shape.length === 0 ? typed : reshape([typed], { shape });
}

/** What the node's own operation adds to sizes; a cast of a size is as short as it gets. */
const computes = (n: GraphNode): boolean => n.op !== "cast" || n.operands[0]!.type.dtype !== "i64";

export const valueRules: readonly Rule[] = [
  // x < y → true where x's largest is less than y's smallest; n − n → 0; and so on
  rule("known-number", node([...elementwiseNames, ...reduceNames], "n"), ({ n }) => {
    const [result] = n.results;
    if (!isWhole(result!)) return undefined;
    const number = numberOf(result!);
    return number === undefined ? undefined : filled(scalar(result!.type.dtype, number), result!.type.shape);
  }),
  // integers: size(n) + 1 → size(n + 1)
  rule("known-size", node([...elementwiseNames, ...reduceNames], "n"), ({ n }) =>
    computes(n) ? asSize(n.results[0]!) : undefined,
  ),
  // integers: max(x, y) → x where x ≥ y, and so on
  rule("known-larger", op(["max", "min"], [any("x"), any("y")], "n"), ({ x, y, n }) => {
    if (!isInt(x.type.dtype)) return undefined;
    const [a, b] = [each(x), each(y)];
    if (a.low >= b.high) return n.op === "max" ? x : y;
    return b.low >= a.high ? (n.op === "max" ? y : x) : undefined;
  }),
  // integers: |x| → x where x ≥ 0;  x rem y → x where 0 ≤ x < y
  rule("known-positive", op("abs", [any("x")]), ({ x }) => (isInt(x.type.dtype) && each(x).low >= 0 ? x : undefined)),
  rule("known-remainder", op("rem", [any("x"), any("y")]), ({ x, y }) =>
    isInt(x.type.dtype) && each(x).low >= 0 && each(x).high < each(y).low ? x : undefined,
  ),
];
