/**
 * Every attribute that is a size, every axis of every operand and every index operand of every op, taken out of range in a run:
 * the run gives what the definition gives, or ends in a ModelError that names the node. It never traps, and leaves alone what
 * belongs to others.
 */

import { afterAll, expect, it } from "vitest";
import { assemble } from "../../compiler/assemble.js";
import { KernelPool } from "../../compiler/lower/core/kernel-builder.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { type Dim, type DimExpr, dimSymbol } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { type Attr, type Attrs, type Graph, graph, param, type Value, withLoc } from "../../ir/graph.js";
import { makeNode, type OpFacts } from "../../ir/op.js";
import { isElementwise } from "../../ir/ops/classes.js";
import { bindDim, unknownSize } from "../../ir/ops/dynamic.js";
import { add } from "../../ir/ops/elementwise.js";
import { type AttrsOf, type OpName, ops } from "../../ir/ops/index.js";
import { evaluate } from "../../ir/reference.js";
import { scalar, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { runPipeline } from "../../passes/pipeline.js";
import { sealArtifact } from "../../runtime/encode.js";
import { load } from "../../runtime/index.js";
import { disagreement } from "./accuracy.js";
import { type DrawnSample, samplesOf } from "./draw.js";

/** Names of the attributes that are sizes or lists of them. */
type SizeKeys<A> = {
  [K in keyof A]-?: DimExpr extends A[K] ? K : readonly DimExpr[] extends A[K] ? K : never;
}[keyof A];

/** Every op that has such attributes, with all of them: the type asks for what is missing. */
const SIZES: {
  readonly [N in OpName as SizeKeys<AttrsOf<N>> extends never ? never : N]: readonly SizeKeys<AttrsOf<N>>[];
} = {
  averagePool: ["padLow", "padHigh", "overhang"],
  bindDim: ["defines"],
  checkIndices: ["size"],
  broadcast: ["shape"],
  conv: ["padLow", "padHigh"],
  convInputGrad: ["padLow", "padHigh", "inputSize"],
  convWeightGrad: ["padLow", "padHigh"],
  dimSize: ["size"],
  if: ["defines"],
  iota: ["shape"],
  loop: ["trips", "defines"],
  lpPool: ["padLow", "padHigh"],
  maxPool: ["padLow", "padHigh"],
  maxPoolGather: ["padLow", "padHigh", "inputSize"],
  maxPoolGrad: ["padLow", "padHigh", "inputSize"],
  nonMaxSuppression: ["defines"],
  nonZero: ["defines"],
  pad: ["low", "high"],
  randomBits: ["shape"],
  randomNormal: ["shape"],
  randomUniform: ["shape"],
  range: ["defines"],
  reshape: ["shape"],
  scan: ["length"],
  slice: ["starts", "sizes"],
  tiledAttention: ["keys"],
  topK: ["k"],
  unique: ["defines"],
  updateSlice: ["starts"],
  windowSum: ["padLow", "padHigh"],
  windowSumGrad: ["padLow", "padHigh", "inputSize"],
};

/** Finders: their attribute names the size that they find. */
const isFinder = (op: OpFacts<string, Attrs>) => Object.hasOwn(op.attrs ?? {}, "defines");

/** Operands that hold indices. */
const INDICES: Readonly<Record<string, number>> = {
  checkIndices: 0,
  gather: 1,
  gatherElements: 1,
  gatherND: 1,
  scatterElements: 1,
  scatterND: 1,
  maxPoolGather: 1,
  maxPoolGrad: 1,
};

/** Ops that ask for indices of maxPool's own making: with others, their results are left open. */
const ANY_RESULT: ReadonlySet<string> = new Set(["maxPoolGrad", "maxPoolGather"]);

type Feeds = Readonly<Record<string, Tensor>>;

interface Variant {
  readonly name: string;
  readonly graph: Graph;
  readonly runs: readonly Feeds[];
}

/** As many of the tensor's values as the shape takes, over and over. */
function reshaped(t: Tensor, shape: readonly number[]): Tensor {
  const count = shape.reduce((p, d) => p * d, 1);
  const values = Array.from({ length: count }, (_, i) =>
    t.data.length === 0 ? 0 : Number(t.data[i % t.data.length]!),
  );
  return tensorFrom(t.dtype, shape, values);
}

const vector = (count: number): Tensor =>
  tensorFrom(
    "f32",
    [count],
    Array.from({ length: count }, (_, i) => i),
  );

/** The op over the operands, between a value of its own before it and one after it, which must come out untouched. */
function guarded(
  d: DrawnSample,
  operands: readonly Value[],
  attrs: Attrs,
  extra: readonly Value[],
  sizes: readonly Value[],
) {
  const results = withLoc("the node", () => makeNode(d.op, operands, attrs, d.sample.regions?.() ?? []).results);
  const guard = param("guard", { dtype: "f32", shape: [40] });
  const before = add([guard, guard]);
  const all = [before, ...results, add([before, guard])];
  return graph(
    d.op.name,
    [guard, ...operands, ...extra],
    all,
    all.map((_, i) => `y${i}`),
    undefined,
    sizes,
  );
}

/** Makes a variant, unless inference refuses it when compiling. */
function variant(name: string, make: () => Graph, runs: readonly Feeds[]): readonly Variant[] {
  try {
    return [{ name, graph: make(), runs: runs.map((r) => ({ guard: vector(40), ...r })) }];
  } catch (error) {
    if (error instanceof ModelError) return [];
    throw error;
  }
}

const params = (d: DrawnSample): readonly Value[] =>
  d.feeds.map((t, i) => param(`x${i}`, { dtype: t.dtype, shape: t.shape }));
const feedsOf = (d: DrawnSample): Feeds => Object.fromEntries(d.feeds.map((t, i) => [`x${i}`, t]));

const around = (v: number): readonly number[] => [
  ...new Set([v, v + 1, Math.max(0, v - 1), 0, v + 7, 3 * v + 5, 90].filter((x) => x >= 0)),
];

/** Each size of the attributes, by an input's shape and by data. */
function attributes(d: DrawnSample): readonly Variant[] {
  const keys = (SIZES as Readonly<Record<string, readonly string[]>>)[d.op.name] ?? [];
  return keys.flatMap((key) => {
    const given = d.sample.attrs[key] as Attr | undefined;
    const list = Array.isArray(given) ? (given as readonly Attr[]) : [given];
    return list.flatMap((v, at) => {
      if (typeof v !== "number" || v < 0) return [];
      const attrs = (size: Dim): Attrs =>
        ({
          ...d.sample.attrs,
          [key]: Array.isArray(given) ? list.map((x, i) => (i === at ? size : x)) : size,
        }) as Attrs;
      const shown = dimSymbol("shown", { min: 0 });
      const found = unknownSize("found", 90);
      const shape = param("shape", { dtype: "f32", shape: [shown] });
      const size = param("size", { dtype: "i64", shape: [] });
      const where = `${key}[${at}] of sample ${d.index}`;
      return [
        ...variant(
          `${where}, shown`,
          () => guarded(d, params(d), attrs(shown), [shape], []),
          around(v).map((n) => ({ ...feedsOf(d), shape: vector(n) })),
        ),
        ...variant(
          `${where}, found`,
          () => {
            const finder = withLoc("the node", () => bindDim([size], { defines: found }));
            return guarded(d, params(d), attrs(found), [size], [finder]);
          },
          [...around(v), -1, 2 ** 40].map((n) => ({ ...feedsOf(d), size: scalar("i64", n) })),
        ),
      ];
    });
  });
}

/** Each axis of each operand, of a size of its own. */
function axes(d: DrawnSample): readonly Variant[] {
  if (d.sample.regions) return [];
  return d.feeds.flatMap((t, k) =>
    t.shape.flatMap((size, a) => {
      const open = dimSymbol("open", { min: 0 });
      const resized = params(d).map((p, i) =>
        i === k ? param(`x${k}`, { dtype: t.dtype, shape: t.shape.map((s, b) => (a === b ? open : s)) }) : p,
      );
      return variant(
        `axis ${a} of operand ${k} of sample ${d.index}`,
        () => guarded(d, resized, d.sample.attrs, [], []),
        around(size).map((n) => ({
          ...feedsOf(d),
          [`x${k}`]: reshaped(
            t,
            t.shape.map((s, b) => (a === b ? n : s)),
          ),
        })),
      );
    }),
  );
}

/** Each index beyond the axis, a little and by far. */
function indices(d: DrawnSample): readonly Variant[] {
  const k = INDICES[d.op.name];
  const t = k === undefined ? undefined : d.feeds[k];
  if (t === undefined || t.data.length === 0) return [];
  const wild =
    t.dtype === "i64" ? [1000, -1000, 2 ** 31, -(2 ** 31) - 1, 2 ** 40, -(2 ** 52)] : [1000, -1000, 2 ** 31 - 1];
  const sizes = [...new Set(d.feeds[0]!.shape)].flatMap((n) => [n, -n - 1]);
  const places = [0, t.data.length - 1];
  const runs = [...sizes, ...wild].flatMap((v) =>
    places.map((at) => {
      const values = Array.from(t.data as ArrayLike<number | bigint>, Number);
      values[at] = v;
      return { ...feedsOf(d), [`x${k}`]: tensorFrom(t.dtype, t.shape, values) };
    }),
  );
  return variant(`indices of sample ${d.index}`, () => guarded(d, params(d), d.sample.attrs, [], []), [
    feedsOf(d),
    ...runs,
  ]);
}

const counts = { runs: 0, refused: 0 };

/** `strict`: what the definition refuses is refused. Passes may drop what such a refusal is about. */
async function check(
  op: OpFacts<string, Attrs>,
  variants: readonly Variant[],
  prepare: (g: Graph) => Graph,
  strict: boolean,
): Promise<void> {
  const pool = new KernelPool();
  const entries = variants.flatMap((v): readonly (Variant & { readonly entry: string })[] => {
    try {
      return [{ ...v, entry: `e${variants.indexOf(v)}`, graph: prepare(v.graph) }];
    } catch (error) {
      if (error instanceof ModelError) return [];
      throw error;
    }
  });
  const schedules = entries.map(({ graph: g, entry }) => lowerGraph({ ...g, name: entry }, { pool }));
  const made = assemble(
    schedules,
    { entries: {}, state: [] },
    {
      name: "cases",
      variants: ["simd128", "simd128-threads"],
      maxThreads: 2,
      maxMemoryBytes: 2 ** 30,
      optimizeKernel: (fn) => fn,
      producer: "test",
    },
  );
  const artifact = await sealArtifact(made.draft, made.wasm, made.weights);
  for (const threads of [1, 2]) {
    const session = await load(artifact, { threads });
    try {
      for (const { name, graph: g, entry, runs } of entries) {
        const original = variants.find((v) => v.name === name)!.graph;
        for (const feeds of runs) {
          const what = `${op.name}, ${name}, ${threads} thread(s), ${Object.entries(feeds)
            .map(([k, t]) => `${k}: [${t.shape}]${t.data.length === 1 ? ` = ${t.data[0]}` : ""}`)
            .join(", ")}`;
          const want = outcome(() => evaluate(original, feeds));
          counts.runs++;
          let got: Readonly<Record<string, Tensor>> | ModelError;
          try {
            got = (await session.run(feeds as never, { entry })) as Readonly<Record<string, Tensor>>;
          } catch (error) {
            if (!(error instanceof Error) || error.name !== "ModelError") throw new Error(`${what}: ${error}`);
            got = error as ModelError;
          }
          if (want instanceof ModelError || got instanceof Error) {
            counts.refused++;
            if (strict)
              expect(got instanceof Error, `${what}: runs, where the definition says ${(want as Error).message}`).toBe(
                true,
              );
            if (!(got instanceof Error)) continue;
            expect(want instanceof ModelError, `${what}: refused: ${(got as Error).message}`).toBe(true);
            for (const { where } of (got as ModelError).problems) expect(where, what).toBe("the node");
            continue;
          }
          g.resultNames.forEach((output, i) => {
            const isGuard = i === 0 || i === g.results.length - 1;
            if (!isGuard && ANY_RESULT.has(op.name)) return;
            const accuracy = isGuard ? "exact" : op.accuracy;
            expect(disagreement(got[output]!, want[i]!, accuracy), `${what}, result ${i}`).toBeUndefined();
          });
        }
      }
    } finally {
      session.dispose();
    }
  }
}

function outcome(body: () => readonly Tensor[]): readonly Tensor[] | ModelError {
  try {
    return body();
  } catch (error) {
    if (error instanceof ModelError) return error;
    throw error;
  }
}

/** One elementwise op stands for all: they share inference and kernels. */
const covered = [...ops].filter(
  ([name, op]) => (!isElementwise(name) || name === "add" || name === "select") && !isFinder(op),
);

it.each(covered)("%s", async (_, op) => {
  const small = samplesOf(op).filter((d) => d.feeds.every((t) => t.data.length <= 400));
  const chosen = small.slice(0, INDICES[op.name] === undefined ? 1 : 3);
  const variants = chosen.flatMap((d) => [...attributes(d), ...axes(d), ...indices(d)]);
  if (variants.length === 0) return;
  if (op.kind === "primitive") await check(op, variants, (g) => g, true);
  await check(op, variants, (g) => runPipeline(defaultPipeline, g), false);
});

afterAll(() => {
  console.log(`out of range: ${counts.runs} runs, ${counts.refused} of them refused`);
  expect(counts.runs).toBeGreaterThan(5_000);
});
