/** Ops on tables of features and on n-grams, against what their definitions say, written as plain loops. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../compiler/onnx/import.js";
import type { AttributeProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { uniform } from "../../compiler/random-feeds.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { model, node, tensorInfo } from "./build.js";

const SEED = 20261127;
const random = uniform(SEED);
const draw = (n: number) => Math.floor(random() * n);
const list = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));

function run(
  {
    op,
    domain = "",
    input,
    attributes,
  }: {
    readonly op: string;
    readonly domain?: string;
    readonly input: readonly [shape: readonly (number | string)[], elemType: number];
    readonly attributes: Record<string, AttributeProto | number | string | readonly number[]>;
  },
  x: Tensor,
): { shape: readonly number[]; data: readonly number[] } {
  const graph = {
    name: "g",
    input: [tensorInfo("x", ...input)],
    output: [tensorInfo("y", undefined)],
    node: [node(op, ["x"], ["y"], attributes, { domain })],
  };
  const proto = {
    ...model(graph),
    opsetImport: [
      { domain: "", version: 21 },
      { domain: "ai.onnx.ml", version: 5 },
    ],
  };
  const [y] = evaluate(importOnnx(encodeModel(proto)), { x });
  return { shape: y!.shape, data: toNumbers(y!) };
}

const tensorAttribute = (dtype: "f32" | "u8", values: readonly number[]): AttributeProto => ({
  type: 4,
  t: encodeTensor(
    { dtype, shape: [values.length], data: dtype === "f32" ? Float32Array.from(values) : Uint8Array.from(values) },
    "",
  ),
});

interface Node {
  readonly feature: number;
  readonly mode: number;
  readonly split: number;
  readonly members: readonly number[];
  readonly tracks: boolean;
  readonly yes: Tree;
  readonly no: Tree;
}
type Tree = Node | { readonly target: number; readonly weight: number };

const value = () => draw(4) - 1;

function drawTree(depth: number, features: number, targets: number): Node {
  const below = (): Tree =>
    depth > 0 && random() < 0.7
      ? drawTree(depth - 1, features, targets)
      : { target: draw(targets), weight: draw(9) / 4 - 1 };
  return {
    feature: draw(features),
    mode: draw(7),
    split: value(),
    members: list(1 + draw(3), value),
    tracks: random() < 0.5,
    yes: below(),
    no: below(),
  };
}

function walk(tree: Tree, row: readonly number[]): { target: number; weight: number } {
  if ("target" in tree) return tree;
  const [v, s] = [row[tree.feature]!, tree.split];
  const holds = [v <= s, v < s, v >= s, v > s, v === s, v !== s, tree.members.includes(v)][tree.mode]!;
  return walk(holds || (Number.isNaN(v) && tree.tracks) ? tree.yes : tree.no, row);
}

function attributesOf(trees: readonly Node[]) {
  const nodes: Node[] = [];
  const leaves: { target: number; weight: number }[] = [];
  const links: { yes: number; no: number; yesLeaf: number; noLeaf: number }[] = [];
  const place = (tree: Tree): number => {
    if ("target" in tree) return leaves.push(tree) - 1;
    const id = nodes.push(tree) - 1;
    links.push({ yes: 0, no: 0, yesLeaf: Number("target" in tree.yes), noLeaf: Number("target" in tree.no) });
    links[id]!.yes = place(tree.yes);
    links[id]!.no = place(tree.no);
    return id;
  };
  const roots = trees.map(place);
  const sets = nodes.filter((n) => n.mode === 6).map((n) => n.members);
  return {
    tree_roots: roots,
    nodes_featureids: nodes.map((n) => n.feature),
    nodes_modes: tensorAttribute(
      "u8",
      nodes.map((n) => n.mode),
    ),
    nodes_splits: tensorAttribute(
      "f32",
      nodes.map((n) => n.split),
    ),
    nodes_truenodeids: links.map((l) => l.yes),
    nodes_trueleafs: links.map((l) => l.yesLeaf),
    nodes_falsenodeids: links.map((l) => l.no),
    nodes_falseleafs: links.map((l) => l.noLeaf),
    nodes_missing_value_tracks_true: nodes.map((n) => Number(n.tracks)),
    membership_values: tensorAttribute(
      "f32",
      sets.flatMap((s, i) => (i === 0 ? s : [Number.NaN, ...s])),
    ),
    leaf_targetids: leaves.map((l) => l.target),
    leaf_weights: tensorAttribute(
      "f32",
      leaves.map((l) => l.weight),
    ),
  };
}

describe("TreeEnsemble", () => {
  it("is what walking its trees gives", () => {
    for (let k = 0; k < 40; k++) {
      const [features, targets, rows] = [1 + draw(3), 1 + draw(3), 1 + draw(6)];
      const trees = list(1 + draw(4), () => drawTree(draw(4), features, targets));
      const aggregate = draw(4);
      const data = list(rows, () => list(features, () => (random() < 0.15 ? Number.NaN : value())));
      const expected = data.flatMap((row) => {
        const found = trees.map((tree) => walk(tree, row));
        return list(targets, (t) => {
          const own = found.filter((leaf) => leaf.target === t).map((leaf) => leaf.weight);
          const total = own.reduce((a, b) => a + b, 0);
          if (aggregate < 2) return aggregate === 0 ? Math.fround(total / trees.length) : total;
          return own.length === 0 ? 0 : aggregate === 2 ? Math.min(...own) : Math.max(...own);
        });
      });
      const attributes = { ...attributesOf(trees), n_targets: targets, aggregate_function: aggregate };
      const op = { op: "TreeEnsemble", domain: "ai.onnx.ml", input: [["n", features], 1], attributes } as const;
      const y = run(op, tensorFrom("f32", [rows, features], data.flat()));
      expect(y, `seed ${SEED}, case ${k}`).toEqual({ shape: [rows, targets], data: expected });
    }
  });

  it("is refused where its trees have no end or its parts do not fit", () => {
    const [tree] = [drawTree(1, 1, 1)];
    const whole = attributesOf([tree!]);
    const refused = (change: Partial<typeof whole> & { n_targets?: number }) => () =>
      run(
        { op: "TreeEnsemble", domain: "ai.onnx.ml", input: [["n", 1], 1], attributes: { ...whole, ...change } },
        tensorFrom("f32", [1, 1], [0]),
      );
    const none = whole.nodes_trueleafs.map(() => 0);
    const root = none.map(() => 0);
    expect(refused({ nodes_trueleafs: none, nodes_truenodeids: root })).toThrow(/has a circle/);
    expect(refused({ n_targets: 2 ** 31 })).toThrow(/targets/);
    expect(refused({ tree_roots: [99] })).toThrow(/do not belong together/);
    expect(refused({ nodes_falsenodeids: root.map(() => 99) })).toThrow(/which is not there/);
  });
});

describe("TfIdfVectorizer", () => {
  it("counts n-grams with gaps", () => {
    for (let k = 0; k < 40; k++) {
      const [least, skips, columns] = [1 + draw(2), draw(3), 1 + draw(8)];
      const most = least + draw(2);
      const grams = list(3, (n) => list(draw(4), () => list(n + 1, () => draw(3))));
      grams[least - 1]!.push(list(least, () => draw(3)));
      const all = grams.flat();
      const outputs = all.map((_, i) => i).sort(() => random() - 0.5);
      const weights = all.map(() => draw(9) / 4);
      const mode = (["TF", "IDF", "TFIDF"] as const)[draw(3)]!;
      const rows = 1 + draw(3);
      const data = list(rows, () => list(columns, () => draw(3)));
      const expected = data.flatMap((row) => {
        const counts = new Array<number>(all.length).fill(0);
        all.forEach((gram, g) => {
          if (gram.length < least || gram.length > most) return;
          for (let gap = 1; gap <= (gram.length === 1 ? 1 : skips + 1); gap++)
            for (let at = 0; at + (gram.length - 1) * gap < columns; at++)
              if (gram.every((term, j) => row[at + j * gap] === term)) counts[outputs[g]!]!++;
        });
        return counts.map((n, i) => (mode === "TF" ? n : mode === "IDF" ? (n > 0 ? weights[i]! : 0) : n * weights[i]!));
      });
      const starts = grams.map((_, n) => grams.slice(0, n).flat(2).length);
      const attributes = {
        min_gram_length: least,
        max_gram_length: most,
        max_skip_count: skips,
        ngram_counts: starts,
        ngram_indexes: outputs,
        pool_int64s: all.flat(),
        mode,
        weights: { type: 6, floats: weights },
      };
      const x = tensorFrom("i64", [rows, columns], data.flat());
      const y = run({ op: "TfIdfVectorizer", input: [["n", "c"], 7], attributes }, x);
      expect(y, `seed ${SEED}, case ${k}`).toEqual({ shape: [rows, all.length], data: expected });
    }
  });

  it("is refused where its n-grams have no place", () => {
    const attributes = (indexes: readonly number[]) => ({
      min_gram_length: 1,
      max_gram_length: 1,
      max_skip_count: 0,
      ngram_counts: [0],
      ngram_indexes: indexes,
      pool_int64s: [1],
      mode: "TF",
    });
    const given = (indexes: readonly number[]) => () =>
      run({ op: "TfIdfVectorizer", input: [["c"], 7], attributes: attributes(indexes) }, tensorFrom("i64", [1], [1]));
    expect(given([0])()).toEqual({ shape: [1], data: [1] });
    expect(given([2 ** 31])).toThrow(/make 2147483649 results of 1 n-grams/);
    expect(given([])).toThrow(/pool does not divide/);
  });
});
