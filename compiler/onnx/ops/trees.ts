/** ai.onnx.ml: what tables of features go through: choice and thresholds of features, ensembles of decision trees. */
import {
  amax,
  amin,
  asType,
  broadcastTo,
  expandDims,
  full,
  np,
  rankOf,
  reshapeTo,
  sum,
  where,
} from "../../../ir/build.js";
import { type DType, isFloat } from "../../../ir/dtype.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { exp, sigmoid } from "../../../ir/ops/elementwise.js";
import { gather, gatherElements } from "../../../ir/ops/indexing.js";
import { softmax } from "../../../ir/ops/softmax.js";
import { toNumbers } from "../../../ir/tensor.js";
import { bindTensor, vector } from "../build.js";
import { type ImportOp, isValue, type NodeContext, type OpRow } from "../context.js";

const arrayFeatureExtractor: ImportOp = (c) => {
  const [x, chosen] = [c.input(0), c.input(1)];
  const indices = reshapeTo(asType(chosen, "i64"), [chosen.type.shape.at(-1) ?? 1]);
  const taken = gather([x, indices], { axis: rankOf(x) - 1 });
  // A vector gives one row.
  return rankOf(x) === 1 ? expandDims(taken, 0) : taken;
};

const binarizer: ImportOp = (c) => {
  const x = c.input(0);
  return asType(np.gt(x, c.attrs.float("threshold", 0)), x.type.dtype);
};

/** How a node compares its feature with its split, by nodes_modes; 6: whether the feature is one of a set. */
const MODES = [np.le, np.lt, np.ge, np.gt, np.eq, np.ne] as const;
const MEMBER = 6;

/** Results of a row, and values of the sets of all nodes. */
const MAX_TARGETS = 2 ** 16;
const MAX_MEMBERS = 2 ** 24;

/** Longest way from a root to a leaf; the file may be damaged so that there is none. */
const MAX_DEPTH = 1000;

interface Ensemble {
  /** Of each node; leaves follow, and lead to themselves. */
  readonly yes: readonly number[];
  readonly no: readonly number[];
  readonly depth: number;
}

function readEnsemble(c: NodeContext, roots: readonly number[], nodes: number, leaves: number): Ensemble {
  const follow = (ids: string, isLeaf: string): number[] => {
    const [to, leaf] = [c.attrs.requiredInts(ids), c.attrs.requiredInts(isLeaf)];
    if (to.length !== nodes || leaf.length !== nodes)
      throw c.error(`${ids} and ${isLeaf} should have ${nodes} entries`);
    return to.map((id, i) => {
      if (!(id >= 0 && id < (leaf[i] ? leaves : nodes))) throw c.error(`${ids}[${i}] is ${id}, which is not there`);
      return leaf[i] ? nodes + id : id;
    });
  };
  const self = Array.from({ length: leaves }, (_, i) => nodes + i);
  const yes = [...follow("nodes_truenodeids", "nodes_trueleafs"), ...self];
  const no = [...follow("nodes_falsenodeids", "nodes_falseleafs"), ...self];
  let level = new Set(roots);
  for (let depth = 0; ; depth++) {
    level = new Set([...level].filter((i) => i < nodes).flatMap((i) => [yes[i]!, no[i]!]));
    if (level.size === 0) return { yes, no, depth };
    if (depth > MAX_DEPTH) throw c.error(`a tree is deeper than ${MAX_DEPTH}, or has a circle`);
  }
}

/** Elements of a tensor attribute. */
function table(c: NodeContext, name: string): readonly number[] {
  const t = c.attrs.tensor(name);
  const bound = t && bindTensor(t);
  if (!isValue(bound) || bound.def.op !== "constant")
    throw c.error(`the attribute ${name} should be a tensor of numbers`);
  return toNumbers(bound.def.attrs.value);
}

/** For each node a row of the values that lead to its true branch, filled up with NaN, which nothing equals. */
function memberSets(c: NodeContext, modes: readonly number[]): readonly (readonly number[])[] {
  const sets: number[][] = [[]];
  for (const v of table(c, "membership_values"))
    if (Number.isNaN(v)) sets.push([]);
    else sets.at(-1)!.push(v);
  const longest = Math.max(1, ...sets.map((s) => s.length));
  if (longest * modes.length > MAX_MEMBERS)
    throw c.error(`sets of up to ${longest} values for ${modes.length} nodes are too many`);
  let next = 0;
  return modes.map((mode) => {
    const own = mode === MEMBER ? (sets[next++] ?? []) : [];
    return [...own, ...Array<number>(longest - own.length).fill(Number.NaN)];
  });
}

/** Whether each position's node sends its feature to the true branch. */
function decide(c: NodeContext, feature: Value, at: Value, modes: readonly number[], leaves: number): Value {
  const { dtype } = feature.type;
  const pad = <T>(list: readonly T[], fill: T): readonly T[] => [...list, ...Array<T>(leaves).fill(fill)];
  const own = (values: readonly number[], type: DType): Value =>
    gather([vector(type, pad(values, 0)), at], { axis: 0 });
  const splits = table(c, "nodes_splits");
  const split = own(splits, dtype);
  const used = [...new Set(modes)];
  const byMode = used.map((mode) => {
    if (mode !== MEMBER) {
      const compare = MODES[mode];
      if (!compare) throw c.error(`nodes_modes has ${mode}, which is no comparison`);
      return compare(feature, split);
    }
    const sets = memberSets(c, modes);
    const width = sets[0]!.length;
    const rows = reshapeTo(vector(dtype, pad(sets, Array<number>(width).fill(Number.NaN)).flat()), [
      modes.length + leaves,
      width,
    ]);
    const found = asType(np.eq(gather([rows, at], { axis: 0 }), expandDims(feature, -1)), "i32");
    return np.gt(amax(found, -1), 0);
  });
  let taken = byMode[0]!;
  byMode.slice(1).forEach((answer, i) => {
    taken = where(np.eq(own(modes, "i64"), used[i + 1]!), answer, taken);
  });
  const tracks = c.attrs.ints("nodes_missing_value_tracks_true", []);
  if (!tracks.some((t) => t !== 0)) return taken;
  return np.or(taken, np.and(np.ne(feature, feature), np.ne(own(tracks, "i64"), 0)));
}

function transformed(c: NodeContext, y: Value): Value {
  switch (c.attrs.int("post_transform", 0)) {
    case 0:
      return y;
    case 1:
      return softmax([y], { axis: -1 });
    case 2:
      return sigmoid([y]);
    case 3: {
      // Zeros stay.
      const powers = where(np.eq(y, 0), 0, exp([np.sub(y, amax(y, -1, { keepDims: true }))]));
      return np.div(powers, sum(powers, -1, { keepDims: true }));
    }
    default:
      throw c.error("the post transform PROBIT is not supported", "leave it out, and apply it to the result");
  }
}

/** All rows walk all trees at once, a level in each step. */
const treeEnsemble: ImportOp = (c) => {
  const x = c.input(0);
  if (rankOf(x) !== 2 || !isFloat(x.type.dtype))
    throw c.error(`the input should be [rows, features], but is ${typeText(x.type)}`);
  const modes = table(c, "nodes_modes");
  const weights = table(c, "leaf_weights");
  const targets = c.attrs.requiredInts("leaf_targetids");
  const count = c.attrs.int("n_targets", Math.max(...targets) + 1);
  const [nodes, leaves, roots] = [modes.length, weights.length, c.attrs.requiredInts("tree_roots")];
  if (nodes === 0 || roots.length === 0 || roots.some((r) => !(r >= 0 && r < nodes)) || targets.length !== leaves)
    throw c.error("its roots, nodes or leaves do not belong together");
  if (!(count >= 1 && count <= MAX_TARGETS)) throw c.error(`it has ${count} targets; 1 to ${MAX_TARGETS} make sense`);
  const { yes, no, depth } = readEnsemble(c, roots, nodes, leaves);
  const features = [...c.attrs.requiredInts("nodes_featureids"), ...Array<number>(leaves).fill(0)];
  const rows = x.type.shape[0]!;
  const pick = (list: readonly number[], at: Value, dtype: DType = "i64") =>
    gather([vector(dtype, list), at], { axis: 0 });
  let at = broadcastTo(reshapeTo(vector("i64", roots), [1, roots.length]), [rows, roots.length]);
  for (let level = 0; level <= depth; level++) {
    const feature = gatherElements([x, pick(features, at)], { axis: 1 });
    at = where(decide(c, feature, at, modes, leaves), pick(yes, at), pick(no, at));
  }
  const before = Array<number>(nodes).fill(0);
  const target = expandDims(pick([...before, ...targets], at), -1);
  const weight = expandDims(pick([...before, ...weights], at, x.type.dtype), -1);
  const own = np.eq(
    target,
    reshapeTo(
      vector(
        "i64",
        Array.from({ length: count }, (_, k) => k),
      ),
      [1, 1, count],
    ),
  );
  const joined = (rest: number): Value => where(own, weight, full(x.type.dtype, [], rest));
  const some = np.gt(amax(asType(own, "i32"), 1), 0);
  const aggregates = [
    () => np.div(sum(joined(0), 1), roots.length),
    () => sum(joined(0), 1),
    () => where(some, amin(joined(Number.POSITIVE_INFINITY), 1), 0),
    () => where(some, amax(joined(Number.NEGATIVE_INFINITY), 1), 0),
  ];
  const aggregate = aggregates[c.attrs.int("aggregate_function", 1)];
  if (!aggregate) throw c.error(`aggregate_function is ${c.attrs.int("aggregate_function", 1)}; 0 to 3 are defined`);
  return transformed(c, aggregate());
};

export const trees = {
  ArrayFeatureExtractor: arrayFeatureExtractor,
  Binarizer: binarizer,
  TreeEnsemble: treeEnsemble,
} as const satisfies Readonly<Record<string, OpRow>>;
