/**
 * Networks at their published size: PyTorch's parameters, shapes and, where WASMITH_DATA has an export with its weights, numbers. What
 * compiling them takes is measured in processes of their own: of one in each run, of all with WASMITH_PUBLISHED=1.
 */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { beforeAll, describe, expect, it } from "vitest";
import type { GraphProto } from "../../compiler/onnx/proto-types.js";
import { decodeModel } from "../../compiler/onnx/protobuf.js";
import { decodeTensor } from "../../compiler/onnx/tensor.js";
import { compile, type nn, toGraph } from "../../index.js";
import { dimSubstitute } from "../../ir/dim.js";
import { type Tensor, zeros } from "../../ir/tensor.js";
import type { Feed } from "../../runtime/feeds.js";
import { load } from "../../runtime/index.js";
import { dataFolder, disagreement, hasData, readJson, readTensors } from "../nn/reference-data.js";
import { toTensor } from "../onnx/compare.js";
import type { Exported, Published } from "./published.js";

const folder = new URL("published/", import.meta.url);
const networks = await Promise.all(
  readdirSync(folder).map(async (name) => {
    const file = name.replace(".ts", "");
    const { default: rows } = (await import(`./published/${file}.ts`)) as { readonly default: readonly Published[] };
    return rows.map((row) => ({ file, ...row }));
  }),
).then((all) => all.flat());

it.each(networks)(
  "$name has PyTorch's parameters and shapes",
  ({ build, parameters, input, dtype = "f32", output }) => {
    const net = build();
    expect(net.parameterCount()).toBe(parameters);
    // Zeros take no time to draw, and shapes do not depend on them.
    net.loadState(new Map([...net.variables()].map(([name, { dtype, shape }]) => [name, zeros(dtype, shape)])));
    const graph = toGraph(net, { inputs: { x: { dtype, shape: ["batch", ...input] } } });
    const [result, ...more] = graph.results.map((r) => r.type.shape);
    expect(more).toEqual([]);
    expect(result!.map((d) => dimSubstitute(d, () => 2))).toEqual([2, ...output]);
  },
);

const exported = networks.flatMap((row) => row.exported ?? []);
if (!hasData) console.warn("PyTorch's numbers are not compared: WASMITH_DATA/reference is not there");

describe.skipIf(!hasData)("PyTorch's numbers from PyTorch's weights", () => {
  it.each(exported)("$name", async (row) => {
    const place = join(dataFolder, "reference/onnx", row.name);
    const net = row.build();
    net.loadState(weightsOf(net, decodeModel(readFileSync(join(place, "model.onnx"))).graph!, row));

    const { inputs, outputs, cases } = readJson<{
      readonly inputs: readonly { readonly name: string; readonly dims: readonly (string | number)[] }[];
      readonly outputs: readonly { readonly name: string; readonly rtol: number; readonly atol: number }[];
      readonly cases: readonly { readonly name: string }[];
    }>(join(place, "meta.json"));
    const io = readTensors(join(place, "io.safetensors"));
    const [input, output] = [inputs[0]!, outputs[0]!];
    const graph = toGraph(net, { inputs: { [input.name]: input.dims }, outputs: [output.name] });
    const session = await load(await compile(graph, { variants: ["simd128"] }), { threads: 1 });
    for (const { name: given } of cases) {
      const got = await session.run({ [input.name]: io.get(`${given}.in.${input.name}`)! as Feed });
      const want = io.get(`${given}.out.${output.name}`)!;
      expect(disagreement(got[output.name]!, want, output.rtol, output.atol), given).toBeUndefined();
    }
    session.dispose();
  });
});

/** Weights of an export by the names that the network has. */
function weightsOf(
  net: nn.Module,
  { initializer = [], node: nodes = [] }: GraphProto,
  { rename = (given) => given, folded }: Exported,
): Map<string, Tensor> {
  const given = new Map(initializer.map((t) => [t.name!, toTensor(decodeTensor(t, t.name!))]));
  const known = net.variables();
  // Beside the weights, a file has constants of the exporter's own.
  const weights = new Map(
    [...given].map(([name, t]) => [rename(name), t] as const).filter(([name]) => known.has(name)),
  );
  // Some have an axis for the batch in front.
  for (const [name, { shape, ...t }] of weights)
    if (shape[0] === 1 && shape.length > known.get(name)!.shape.length)
      weights.set(name, { ...t, shape: shape.slice(1) });
  if (folded === undefined) return weights;
  for (const { opType, input = [], output = [] } of nodes) {
    if (opType !== "Conv") continue;
    // "/a/a.0/conv/Conv_output_0" is a.0.conv.
    const scopes = output[0]!.split("/").slice(1, -1);
    const path = rename(scopes.filter((s, i) => !scopes[i + 1]?.startsWith(`${s}.`)).join("."));
    const [, weight, bias] = input.map((name) => given.get(name));
    // What is left of the norm is the sum.
    const norm = path.replace(/conv$/, "bn");
    const all = (value: number) => ({ ...bias!, data: new Float32Array(bias!.data.length).fill(value) });
    weights.set(`${path}.weight`, weight!).set(`${norm}.bias`, bias!).set(`${norm}.weight`, all(1));
    weights.set(`${norm}.running_mean`, all(0)).set(`${norm}.running_var`, all(1 - folded));
  }
  return weights;
}

interface Cost {
  readonly shapes: readonly (readonly number[])[];
  readonly initialize: number;
  readonly build: number;
  readonly compile: number;
  readonly load: number;
  readonly run: number;
  readonly peakBytes: number;
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const measured = process.env.WASMITH_PUBLISHED ? networks : networks.filter(({ name }) => name === "ResNet-18");

describe("initialise in 3 s, build and compile in 10 s, in 2 GB", () => {
  const child = join(root, "dist/test/published-child.mjs");
  beforeAll(async () => {
    const entry = fileURLToPath(new URL("published-child.ts", import.meta.url));
    await build({
      entryPoints: [entry],
      outfile: child,
      bundle: true,
      format: "esm",
      platform: "node",
      external: ["wasmith"],
      logLevel: "error",
    });
  });

  it.each(measured)("$name", { timeout: 600_000 }, async ({ file, name, output }) => {
    const { stdout } = await promisify(execFile)(process.execPath, [child, file, name], { cwd: root });
    const { shapes, initialize, build, compile: compiling, load: loading, peakBytes, run } = JSON.parse(stdout) as Cost;
    console.info(name, { initialize, build, compile: compiling, load: loading, peakGB: peakBytes / 1e9, run });
    expect(shapes).toEqual([[1, ...output]]);
    expect(build + compiling).toBeLessThan(10);
    expect(loading).toBeLessThan(3);
    expect(initialize).toBeLessThan(3);
    expect(peakBytes).toBeLessThan(2e9);
  });
});
