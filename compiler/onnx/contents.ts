/**
 * What is known at compile time of a value's elements.
 *
 * Exporters compute shapes with tensors: `Shape → Gather → Mul → Concat → Reshape`. Here the elements of small values are
 * followed through the Graph IR, each as a number, an expression over dims (possibly divided by a number: floats that came
 * of sizes), or unknown. Integers are exact; bools are 0 and 1.
 */
import {
  type Dim,
  dimAdd,
  dimBounds,
  dimEqual,
  dimFloorDiv,
  dimMax,
  dimMin,
  dimMod,
  dimMul,
  dimNeg,
  dimSub,
} from "../../ir/dim.js";
import { isFloat, isInt } from "../../ir/dtype.js";
import type { Attrs, GraphNode, Value } from "../../ir/graph.js";
import { isStaticShape } from "../../ir/graph.js";
import { opOf } from "../../ir/ops/index.js";
import { evaluateValues } from "../../ir/reference.js";
import { bigElement, element, elementCount, type Tensor, tensorFrom } from "../../ir/tensor.js";

/** num / den, where den is a positive integer and num depends on a symbol. */
interface Fraction {
  readonly kind: "fraction";
  readonly num: Dim;
  readonly den: number;
}

/** undefined: not known. Numbers hold integers, floats and bools alike. */
export type Element = Dim | Fraction | undefined;

/** Elements in row-major order. */
export type Contents = readonly Element[];

/** Larger values are data, not shapes. */
const MAX_ELEMENTS = 4096;
/** Constants are folded for their contents only if no operand is larger. */
const MAX_FOLD_OPERAND = 1 << 16;

/** Ops that only move elements: their reference, run on element numbers, says where each result element comes from. */
const MOVES: ReadonlySet<string> = new Set([
  "reshape",
  "transpose",
  "broadcast",
  "slice",
  "concat",
  "gather",
  "gatherElements",
  "gatherND",
  "reverse",
]);

const isNumber = (e: Element): e is number => typeof e === "number";

function fraction(num: Dim, den: number): Element {
  if (typeof num === "number") return num / den;
  return den === 1 ? num : { kind: "fraction", num, den };
}

function parts(e: Element): { num: Dim; den: number } | undefined {
  if (e === undefined) return undefined;
  if (typeof e === "object") return e.kind === "fraction" ? e : { num: e, den: 1 };
  let den = 1;
  while (!Number.isInteger(e * den) && den < 2 ** 32) den *= 2;
  return Number.isSafeInteger(e * den) ? { num: e * den, den } : undefined;
}

function combine(a: Element, b: Element, op: (x: Dim, y: Dim) => Dim): Element {
  const x = parts(a);
  const y = parts(b);
  if (!x || !y) return undefined;
  const den = Math.max(x.den, y.den);
  // Denominators are powers of two or divide one another in practice; otherwise give up.
  if (den % x.den !== 0 || den % y.den !== 0) return undefined;
  return fraction(op(dimMul(x.num, den / x.den), dimMul(y.num, den / y.den)), den);
}

function multiply(a: Element, b: Element): Element {
  const x = parts(a);
  const y = parts(b);
  if (!x || !y) return undefined;
  const num = dimMul(x.num, y.num);
  let den = x.den * y.den;
  if (!Number.isSafeInteger(den)) return undefined;
  let reduced = num;
  for (let f = 2; f <= den && den > 1; f *= 2) {
    const half = dimFloorDiv(reduced, 2);
    if (den % 2 !== 0 || !dimEqual(dimMul(half, 2), reduced)) break;
    reduced = half;
    den /= 2;
  }
  return fraction(reduced, den);
}

function divide(a: Element, b: Element, float: boolean): Element {
  const x = parts(a);
  const y = parts(b);
  if (!x || !y || y.num === 0) return undefined;
  if (!float) {
    // Integer division truncates; for signs that are known it is the floor.
    if (dimBounds(x.num).min < 0 || dimBounds(y.num).min <= 0) return undefined;
    return dimFloorDiv(x.num, y.num);
  }
  if (typeof y.num === "number") {
    const sign = y.num < 0 ? -1 : 1;
    const reciprocal: Fraction = { kind: "fraction", num: 1, den: x.den * Math.abs(y.num) };
    return multiply(fraction(dimMul(x.num, y.den * sign), 1), reciprocal);
  }
  if (dimEqual(x.num, y.num)) return y.den / x.den;
  const whole = dimFloorDiv(x.num, y.num);
  return dimEqual(dimMul(whole, y.num), x.num) && y.den % x.den === 0 ? dimMul(whole, y.den / x.den) : undefined;
}

function floorOf(e: Element, ceiling: boolean): Element {
  const x = parts(e);
  if (!x) return undefined;
  return ceiling ? dimNeg(dimFloorDiv(dimNeg(x.num), x.den)) : dimFloorDiv(x.num, x.den);
}

function truncate(e: Element): Element {
  const x = parts(e);
  if (!x) return undefined;
  const { min, max } = dimBounds(x.num);
  return min >= 0 ? floorOf(e, false) : max <= 0 ? floorOf(e, true) : undefined;
}

/** 1, 0, or unknown. */
function compare(op: string, a: Element, b: Element): Element {
  const x = parts(a);
  const y = parts(b);
  if (!x || !y) return undefined;
  const difference = dimSub(dimMul(x.num, y.den), dimMul(y.num, x.den));
  const { min, max } = dimBounds(difference);
  const decide = (yes: boolean, no: boolean) => (yes ? 1 : no ? 0 : undefined);
  switch (op) {
    case "eq":
      return decide(min === 0 && max === 0, min > 0 || max < 0);
    case "ne":
      return decide(min > 0 || max < 0, min === 0 && max === 0);
    case "lt":
      return decide(max < 0, min >= 0);
    case "le":
      return decide(max <= 0, min > 0);
    case "gt":
      return decide(min > 0, max <= 0);
    default:
      return decide(min >= 0, max < 0);
  }
}

function applyElementwise(op: string, float: boolean, [a, b, c]: readonly Element[]): Element {
  switch (op) {
    case "add":
      return combine(a, b, dimAdd);
    case "sub":
      return combine(a, b, dimSub);
    case "mul":
      return a === 0 || b === 0 ? 0 : multiply(a, b);
    case "div":
      return divide(a, b, float);
    case "rem":
      if (float || typeof a !== "object" || a.kind !== "dim" || !isNumber(b) || b <= 0 || dimBounds(a).min < 0)
        return undefined;
      return dimMod(a, b);
    case "min":
      return combine(a, b, dimMin);
    case "max":
      return combine(a, b, dimMax);
    case "neg":
      return combine(0, a, dimSub);
    case "abs": {
      const x = parts(a);
      return x && dimBounds(x.num).min >= 0 ? a : undefined;
    }
    case "floor":
      return floorOf(a, false);
    case "ceil":
      return floorOf(a, true);
    case "trunc":
      return truncate(a);
    case "eq":
    case "ne":
    case "lt":
    case "le":
    case "gt":
    case "ge":
      return compare(op, a, b);
    case "and":
      return a === 0 || b === 0 ? 0 : a === 1 && b === 1 ? 1 : undefined;
    case "or":
      return a === 1 || b === 1 ? 1 : a === 0 && b === 0 ? 0 : undefined;
    case "not":
      return a === 0 ? 1 : a === 1 ? 0 : undefined;
    case "select":
      return a === 1 ? b : a === 0 ? c : undefined;
    default:
      return undefined;
  }
}

/** Elements of a host tensor. Integers beyond ±2^53 are unknown. */
function elementsOf(t: Tensor): Contents {
  return Array.from({ length: t.data.length }, (_, i) => {
    const raw = t.data[i]!;
    if (typeof raw !== "bigint") return element(t, i);
    // The largest integers mean "to the end"; saturating keeps that.
    return Number(raw);
  });
}

/** Follows contents through values. Holds what it found, so one object serves a whole import. */
export class KnownContents {
  private readonly found = new Map<Value, Contents | undefined>();
  private readonly folded = new Map<Value, Tensor | undefined>();

  /** States what a parameter of a region holds. */
  state(value: Value, contents: Contents | undefined): void {
    this.found.set(value, contents);
  }

  /** Elements of the value, or undefined if it is too large, of unknown size or nothing is known. */
  of(value: Value): Contents | undefined {
    if (this.found.has(value)) return this.found.get(value);
    const contents = this.compute(value);
    this.found.set(value, contents);
    return contents;
  }

  /** The value as a host tensor, if all of it follows from constants; folds small computations. */
  constant(value: Value): Tensor | undefined {
    const { def } = value;
    if (def.op === "param") return undefined;
    if (def.op === "constant") return def.attrs.value;
    if (this.folded.has(value)) return this.folded.get(value);
    this.folded.set(value, undefined);
    const tensor = this.fold(def, value);
    this.folded.set(value, tensor);
    return tensor;
  }

  private fold(def: GraphNode, value: Value): Tensor | undefined {
    if (def.regions.length > 0 || !isStaticShape(value.type.shape)) return undefined;
    if (elementCount(value.type.shape) > MAX_FOLD_OPERAND) return undefined;
    if (def.op === "dimSize")
      return typeof def.attrs.size === "number" ? tensorFrom("i64", [], [def.attrs.size]) : undefined;
    if (def.results.length !== 1) return undefined;
    const known = new Map<Value, Tensor>();
    for (const operand of def.operands) {
      const tensor = this.constant(operand);
      if (!tensor || tensor.data.length > MAX_FOLD_OPERAND) return undefined;
      known.set(operand, tensor);
    }
    return evaluateValues([value], known, new Map())[0];
  }

  private compute(value: Value): Contents | undefined {
    const { def, type } = value;
    if (def.op === "param" || !isStaticShape(type.shape) || elementCount(type.shape) > MAX_ELEMENTS) return undefined;
    if (def.op === "dimSize") return [def.attrs.size];
    const tensor = this.constant(value);
    if (tensor) return elementsOf(tensor);
    if (MOVES.has(def.op)) return this.moved(def, value);
    if (def.op === "pad") return undefined;
    if (def.op === "sum" || def.op === "prod" || def.op === "reduceMax" || def.op === "reduceMin")
      return this.reduced(def);
    const operands = def.operands.map((v) => this.of(v));
    if (operands.length === 0 || operands.every((o) => o === undefined)) return undefined;
    const count = elementCount(type.shape);
    if (operands.some((o) => o !== undefined && o.length !== count)) return undefined;
    const first = def.operands[0]!;
    const float = isFloat(first.type.dtype);
    return Array.from({ length: count }, (_, i) => {
      const elements = operands.map((o) => o?.[i]);
      if (def.op === "cast") return this.castElement(elements[0], value, first);
      return applyElementwise(def.op, float, elements);
    });
  }

  private castElement(e: Element, value: Value, from: Value): Element {
    const { dtype } = value.type;
    if (isFloat(dtype)) return e;
    if (dtype === "bool")
      return typeof e === "object" && dimBounds(e.kind === "dim" ? e : e.num).min > 0 ? 1 : undefined;
    if (!isInt(dtype)) return undefined;
    return isFloat(from.type.dtype) ? truncate(e) : e;
  }

  private moved(def: GraphNode, value: Value): Contents | undefined {
    const known = new Map<Value, Tensor>();
    const elements: Element[] = [];
    const indexed = def.op.startsWith("gather");
    for (const [i, operand] of def.operands.entries()) {
      if (known.has(operand)) continue;
      if (!isStaticShape(operand.type.shape)) return undefined;
      if (indexed && i > 0) {
        const indices = this.constant(operand);
        if (!indices) return undefined;
        known.set(operand, indices);
        continue;
      }
      const contents = this.of(operand);
      const count = elementCount(operand.type.shape);
      if (count > MAX_ELEMENTS) return undefined;
      const ids = Array.from({ length: count }, (_, k) => elements.length + k);
      for (let k = 0; k < count; k++) elements.push(contents?.[k]);
      // Element numbers take the operand's dtype only if it is wide enough; i32 ids serve every movement op.
      known.set(operand, tensorFrom("i32", operand.type.shape, ids));
    }
    const facts = opOf(def);
    if (facts.kind !== "primitive") return undefined;
    const results = facts.reference(
      def.operands.map((v) => known.get(v)!),
      {
        attrs: def.attrs as Attrs,
        types: def.results.map((r) => ({ dtype: "i32" as const, shape: r.type.shape })),
        regions: [],
        run: () => [],
        dim: (d) => d as number,
        bind: () => {},
      },
    );
    const source = (Array.isArray(results) ? results[value.index] : results) as Tensor;
    return Array.from({ length: source.data.length }, (_, i) => elements[element(source, i)]);
  }

  private reduced(def: GraphNode): Contents | undefined {
    const operand = def.operands[0]!;
    const contents = this.of(operand);
    const { axes } = def.attrs as { axes: readonly number[] };
    // Shapes are vectors: only whole reductions matter.
    if (!contents || axes.length !== operand.type.shape.length || contents.length === 0) return undefined;
    const op = { sum: "add", prod: "mul", reduceMax: "max", reduceMin: "min" }[def.op as "sum"];
    return [contents.slice(1).reduce<Element>((acc, e) => applyElementwise(op, false, [acc, e]), contents[0])];
  }
}

/** The equality of two dims that decides a condition, as their difference, where nothing decides it when compiling. */
export function undecidedEquality(condition: Value, contents: KnownContents): Dim | undefined {
  const { def } = condition;
  if (def.op === "cast" || def.op === "reshape" || def.op === "slice")
    return undecidedEquality(def.operands[0]!, contents);
  if (def.op !== "eq") return undefined;
  const [a, b] = def.operands.map((v) => asDim(contents.of(v)?.[0]));
  return a === undefined || b === undefined ? undefined : dimSub(a, b);
}

/** The element as a dim: an integer or an expression. */
export function asDim(e: Element): Dim | undefined {
  if (typeof e === "number") return Number.isInteger(e) ? e : undefined;
  return e?.kind === "dim" ? e : undefined;
}

/** Exact integers of a host tensor. */
export function integersOf(t: Tensor): readonly bigint[] {
  return Array.from({ length: t.data.length }, (_, i) => bigElement(t, i));
}
