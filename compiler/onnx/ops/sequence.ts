/** Sequences and optionals. Their structure is known when compiling: lengths and positions are constants. */
import { concatenate, dimScalar, full, moveAxis, rankOf, reshapeTo, split, squeeze, stack } from "../../../ir/build.js";
import { type Dim, dimBounds, dimFloorDiv, dimMod, dimMul, dimSub, dimText, isNeverNegative } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { gather } from "../../../ir/ops/indexing.js";
import { contentsOf, dimOf } from "../../../passes/values/index.js";
import {
  type Bound,
  type ImportOp,
  isValue,
  type NodeContext,
  type OpRow,
  type SequenceValue,
  type StackedValue,
} from "../context.js";

/** A program holds each item of a sequence apart. */
const MAX_ITEMS = 4096;

const sequence = (items: readonly Bound[]): SequenceValue => ({ kind: "sequence", items });

function position(c: NodeContext, i: number, length: number, most: number): number {
  const given = c.scalar(i, "the position");
  const at = given < 0 ? given + length : given;
  if (at < 0 || at > most) throw c.error(`position ${given} is outside a sequence of ${length}`);
  return at;
}

/** An input that becomes an item. */
function item(c: NodeContext, i: number): Bound {
  const bound = c.inputs[i];
  if (bound === undefined) throw c.error(`input ${i} is required, but is absent`);
  return bound;
}

function tensors(c: NodeContext, s: SequenceValue) {
  return s.items.map((item) => {
    if (!isValue(item)) throw c.error("the items of the sequence should be tensors");
    return item;
  });
}

const insert: ImportOp = (c) => {
  const { items } = c.sequence(0);
  const at = c.has(2) ? position(c, 2, items.length, items.length) : items.length;
  return sequence([...items.slice(0, at), item(c, 1), ...items.slice(at)]);
};

const erase: ImportOp = (c) => {
  const { items } = c.sequence(0);
  const at = c.has(1) ? position(c, 1, items.length, items.length - 1) : items.length - 1;
  return sequence(items.filter((_, i) => i !== at));
};

/** A sequence whose length the program finds, as one tensor with the items along its first axis. */
function stacked(c: NodeContext): Value | undefined {
  const bound = c.inputs[0];
  return bound && !isValue(bound) && bound.kind === "stacked" ? bound.value : undefined;
}

/** Items of [count, …] side by side along an axis, or along a new one. */
function joinStacked(x: Value, given: number, newAxis: boolean): Value {
  const rank = rankOf(x) - (newAxis ? 0 : 1);
  const axis = given < 0 ? given + rank : given;
  if (newAxis) return moveAxis(x, 0, axis);
  const [count, ...item] = x.type.shape as [Dim, ...Dim[]];
  return reshapeTo(
    moveAxis(x, 0, axis),
    item.map((d, a) => (a === axis ? dimMul(count, d) : d)),
  );
}

const concatFromSequence: ImportOp = (c) => {
  const whole = stacked(c);
  if (whole) return joinStacked(whole, c.attrs.requiredInt("axis"), c.attrs.flag("new_axis", false));
  const items = tensors(c, c.sequence(0));
  const axis = c.attrs.requiredInt("axis");
  return c.attrs.flag("new_axis", false) ? stack(items, axis) : concatenate(items, axis);
};

/** Parts of one size, of which only the run knows how many there are. `keep`: their axis of size 1 stays. */
function equalParts(x: Value, axis: number, count: Dim, each: Dim, keep: boolean): StackedValue {
  const shape = x.type.shape.flatMap((d, a) => (a !== axis ? [d] : keep ? [count, each] : [count]));
  return { kind: "stacked", value: moveAxis(reshapeTo(x, shape), axis, 0) };
}

const splitToSequence: ImportOp = (c) => {
  const x = c.input(0);
  const axis = c.axis(c.attrs.int("axis", 0), x.type.shape.length);
  const size = x.type.shape[axis]!;
  const keep = c.has(1) || c.attrs.flag("keepdims", true);
  const items = (parts: readonly Dim[]): SequenceValue => {
    const pieces = split(x, axis, parts);
    return sequence(keep ? pieces : pieces.map((p) => squeeze(p, axis)));
  };
  if (c.has(1) && rankOf(c.input(1)) === 1) {
    const [count] = c.input(1).type.shape as [Dim];
    if (typeof count === "number") return items(c.dimsWithin(1, () => size));
    const each = dimOf(contentsOf(c.input(1)).each);
    if (each === undefined) throw c.dependsOnData(1, "the sizes of the parts");
    return equalParts(x, axis, count, each, keep);
  }
  const each = c.has(1) ? dimOf(c.fact(1)) : 1;
  if (each === undefined) throw c.dependsOnData(1, "the size of the parts");
  if (dimBounds(each).max < 1) throw c.error(`parts of size ${dimText(each)} do not make a sequence`);
  if (typeof size === "number" && typeof each === "number") {
    const whole = Math.floor(size / each);
    if (whole > MAX_ITEMS) throw c.error(`${whole} parts are too many for a sequence (at most ${MAX_ITEMS})`);
    const rest = size - whole * each;
    return items([...Array<number>(whole).fill(each), ...(rest > 0 ? [rest] : [])]);
  }
  if (isNeverNegative(dimSub(each, size))) return items([size]);
  if (typeof each === "number" && dimMod(size, each) === 0)
    return equalParts(x, axis, dimFloorDiv(size, each), each, keep);
  throw c.error(
    `an axis of size ${dimText(size)} in parts of ${dimText(each)} makes a sequence of a length that is not known, whose last part may be smaller`,
    "fix the size with the option dims, or split into parts of one size",
    c.services.needs.ofDims([size, each]),
  );
};

/** The body once for each item. */
const sequenceMap: ImportOp = (c) => {
  const body = c.attrs.graph("body");
  const first = c.sequence(0);
  const rows = first.items.map((item, i) => {
    const others = c.inputs.slice(1).map((bound) => {
      if (bound && !isValue(bound) && bound.kind === "sequence") {
        const own = bound.items[i];
        if (own === undefined) throw c.error("its sequences differ in length");
        return own;
      }
      if (bound === undefined) throw c.error("an input is absent");
      return bound;
    });
    return c.services.inline(body, [item, ...others], c.scope);
  });
  return body.outputs.map((_, o) => sequence(rows.map((r) => r[o]!)));
};

const presence = (c: NodeContext): boolean => c.has(0);

export const sequences = {
  SequenceEmpty: () => sequence([]),
  SequenceConstruct: (c) => sequence(c.inputs.map((_, i) => item(c, i))),
  SequenceInsert: insert,
  SequenceErase: erase,
  SequenceAt: (c) => {
    const whole = stacked(c);
    if (whole) return gather([whole, reshapeTo(c.input(1), [])], { axis: 0 });
    const { items } = c.sequence(0);
    return items[position(c, 1, items.length, items.length - 1)]!;
  },
  SequenceLength: (c) => dimScalar(stacked(c)?.type.shape[0] ?? c.sequence(0).items.length, "i64"),
  SequenceMap: sequenceMap,
  ConcatFromSequence: concatFromSequence,
  SplitToSequence: splitToSequence,
  Optional: (c) => c.inputs[0] ?? { kind: "absent" },
  OptionalHasElement: (c) => full("bool", [], presence(c) ? 1 : 0),
  OptionalGetElement: (c) => {
    if (!presence(c)) throw c.error("the optional has no value");
    return item(c, 0);
  },
} as const satisfies Readonly<Record<string, OpRow>>;
