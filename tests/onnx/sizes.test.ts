/** Models with dynamic axes at sizes that nobody recorded, against the reference evaluator. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { dimSymbols, evaluateDim } from "../../ir/dim.js";
import { type Graph, graphNodes, paramName } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import { element, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { compareTensors } from "./compare.js";
import { hasExports, hasModels, pytorchExports, trainedModels } from "./data.js";
import { inputsAt, type Sizes, sizesOf, type Tensors } from "./further-sizes.js";
import { recorded } from "./recorded.js";

/** Where a model does not take any sizes: strides and skips that must meet, windows that must fit, caches and their masks. */
const SIZES: Readonly<Record<string, readonly [Sizes, Sizes]>> = {
  "capp-gpt": [
    { batch_size: 2, sequence_length: 2, past_sequence_length: 1, past_sequence_length___sequence_length: 3 },
    { batch_size: 3, sequence_length: 4, past_sequence_length: 0, past_sequence_length___sequence_length: 4 },
  ],
  fcn_segmentation: [
    { batch: 2, h: 8, w: 16 },
    { batch: 1, h: 24, w: 8 },
  ],
  "oww-melspectrogram": [
    { batch_size: 2, samples: 800 },
    { batch_size: 1, samples: 1000 },
  ],
  "silero-vad-v5": [
    { input_0: 2, input_1: 288, state_1: 2 },
    { input_0: 3, input_1: 600, state_1: 3 },
  ],
  style_transfer: [
    { batch: 2, h: 8, w: 12 },
    { batch: 1, h: 16, w: 8 },
  ],
  yolo_head: [
    { batch: 2, h: 8, w: 16 },
    { batch: 1, h: 16, w: 8 },
  ],
};

/** Values of inputs at a further size, where the recorded ones would not do. */
const VALUES: Readonly<Record<string, readonly [Tensors, Tensors]>> = {
  // The other sample rate, which takes other sizes.
  "silero-vad-v5": [{ sr: tensorFrom("i64", [], [8000]) }, {}],
};

/** Tolerances relative to the largest value, for what rounds on the way. */
const ROUGH: Readonly<Record<string, { readonly share: number; readonly why: string }>> = {
  "antispoof-int8": {
    share: 0.1,
    why: "last bits decide about whole steps of what it quantises anew before each product (recorded.ts)",
  },
  "kws-qdq": {
    share: 1 / 100,
    why: "a value near the middle of two steps of 1/255 falls to either side in f32 and f64",
  },
};
const SHARE = 1e-4;

/** Multiply-adds that the evaluator does in a few seconds. */
const MOST_PRODUCTS = 6e7;

/**
 * Models that take more at their smallest further sizes, which are batches: a minute to an hour of the evaluator. Every row of
 * a batch must be what was recorded for it alone.
 */
const HEAVY: readonly string[] = [
  "antispoof-fp32",
  "antispoof-int8",
  "basic-pitch",
  "dnsmos-p808",
  "dnsmos-sig-bak-ovr",
  "magika-v3-3",
];

/** Multiply-adds of convolutions and products at the given sizes. */
function productsAt(graph: Graph, env: ReadonlyMap<string, number>): number {
  let total = 0;
  const count = (shape: readonly Parameters<typeof evaluateDim>[0][]) =>
    shape.reduce<number>(
      (n, d) => n * ([...dimSymbols(d).keys()].every((s) => env.has(s)) ? evaluateDim(d, env) : 1),
      1,
    );
  for (const n of graphNodes(graph)) {
    const [, w] = n.operands;
    if (n.op === "conv") total += (count(n.results[0]!.type.shape) * count(w!.type.shape)) / count([w!.type.shape[0]!]);
    if (n.op === "dotGeneral")
      total += count(n.results[0]!.type.shape) * count(n.attrs.contractB.map((a) => w!.type.shape[a]!));
  }
  return total;
}

/** All named sizes 2, 3, 4 … as long as they are not what was recorded. */
function defaultSizes(names: readonly string[], cases: readonly Sizes[]): readonly Sizes[] {
  return [2, 3, 4, 5, 6]
    .map((n) => Object.fromEntries(names.map((name) => [name, n])))
    .filter((sizes) => !cases.some((c) => names.every((name) => c[name] === sizes[name])))
    .slice(0, 2);
}

function largest(t: Tensor): number {
  let most = 1e-3;
  for (let i = 0; i < t.data.length; i++) most = Math.max(most, Math.abs(element(t, i)) || 0);
  return most;
}

/** Outputs of a batch of equal rows, or of repeated rows, against the recorded ones. */
function rowsThatDiffer(
  got: Tensors,
  { inputs, outputs }: { readonly inputs: Tensors; readonly outputs: Tensors },
  share = 1e-3,
) {
  const batch = Object.values(inputs)[0]!.shape[0]!;
  return Object.entries(outputs).filter(([output, want]) => {
    const rows = got[output]!;
    const size = want.data.length / batch;
    const atol = share * largest(want);
    for (let i = 0; i < rows.data.length; i++) {
      const from = (Math.floor(i / size) % batch) * size + (i % size);
      if (!(Math.abs(element(rows, i) - element(want, from)) <= atol)) return true;
    }
    return rows.data.length === 0;
  });
}

async function check(name: string, folder: string, path: string): Promise<void> {
  const { cases } = recorded(folder);
  const graph = importOnnx(readFileSync(path));
  const known = cases.map((c) => sizesOf(graph, c.inputs));
  const names = Object.keys(known[0]!);
  const sizes = SIZES[name] ?? defaultSizes(names, known);
  expect(sizes).toHaveLength(2);
  const inputs = sizes.map((s, k) => ({ ...inputsAt(graph, cases[0]!.inputs, s), ...VALUES[name]?.[k] }));
  const products = Math.max(...sizes.map((s) => productsAt(graph, new Map(Object.entries({ ...known[0], ...s })))));
  expect(products > MOST_PRODUCTS, `${products} products: the list HEAVY`).toBe(HEAVY.includes(name));
  const session = await load(await compile(graph, { variants: ["simd128"] }), { threads: 1 });
  try {
    for (const [k, feeds] of inputs.entries()) {
      const own = Object.fromEntries(graph.params.map((p) => [paramName(p), feeds[paramName(p)]!]));
      const got = (await session.run(own as never)) as Tensors;
      if (HEAVY.includes(name)) {
        expect(rowsThatDiffer(got, cases[0]!, ROUGH[name]?.share)).toEqual([]);
        continue;
      }
      const wanted = evaluate(graph, own);
      graph.resultNames.forEach((output, i) => {
        const want = wanted[i]!;
        const share = ROUGH[name]?.share ?? SHARE;
        const wrong = compareTensors(got[output]!, want, { rtol: share, atol: share * largest(want) });
        expect(wrong, `${JSON.stringify(sizes[k])}, ${output}`).toBeUndefined();
      });
    }
  } finally {
    session.dispose();
  }
}

describe.skipIf(!hasExports || !hasModels)("further sizes", () => {
  const all = hasExports && hasModels ? [...pytorchExports(), ...trainedModels()] : [];
  const dynamic = all.filter(({ path }) =>
    importOnnx(readFileSync(path)).params.some((p) => p.type.shape.some((d) => typeof d !== "number")),
  );
  it.each(dynamic)("$name", { timeout: 240_000 }, ({ name, folder, path }) => check(name, folder, path));
});
