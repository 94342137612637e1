/**
 * Networks at their published size: PyTorch's parameters, shapes and, where WASMITH_DATA has an export with its weights, numbers. What
 * compiling them takes is measured in processes of their own: of one in each run, of all with WASMITH_PUBLISHED=1.
 */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { decodeModel } from "../../compiler/onnx/protobuf.js";
import { decodeTensor } from "../../compiler/onnx/tensor.js";
import { compile, toGraph } from "../../index.js";
import { dimSubstitute } from "../../ir/dim.js";
import { zeros } from "../../ir/tensor.js";
import type { Feed } from "../../runtime/feeds.js";
import { load } from "../../runtime/index.js";
import { dataFolder, disagreement, hasData, readJson, readTensors } from "../nn/reference-data.js";
import { toTensor } from "../onnx/compare.js";
import type { Published } from "./published.js";

const folder = new URL("published/", import.meta.url);
const networks = await Promise.all(
  readdirSync(folder).map(async (name) => {
    const file = name.replace(".ts", "");
    const { default: rows } = (await import(`./published/${file}.ts`)) as { readonly default: readonly Published[] };
    return rows.map((row) => ({ file, ...row }));
  }),
).then((all) => all.flat());

it.each(networks)("$name has PyTorch's parameters and shapes", ({ build, parameters, input, output }) => {
  const net = build();
  expect(net.parameterCount()).toBe(parameters);
  // Zeros take no time to draw, and shapes do not depend on them.
  net.loadState(new Map([...net.variables()].map(([name, { dtype, shape }]) => [name, zeros(dtype, shape)])));
  const graph = toGraph(net, { inputs: { x: ["batch", ...input] } });
  const [result, ...more] = graph.results.map((r) => r.type.shape);
  expect(more).toEqual([]);
  expect(result!.map((d) => dimSubstitute(d, () => 2))).toEqual([2, ...output]);
});

const exported = networks.flatMap((row) => row.exported ?? []);
if (!hasData) console.warn("PyTorch's numbers are not compared: WASMITH_DATA/reference is not there");

describe.skipIf(!hasData)("PyTorch's numbers from PyTorch's weights", () => {
  it.each(exported)("$name", async ({ name, build, rename = (given) => given }) => {
    const place = join(dataFolder, "reference/onnx", name);
    const { initializer = [] } = decodeModel(readFileSync(join(place, "model.onnx"))).graph!;
    const net = build();
    const known = net.variables();
    // Beside the weights, a file has constants of the exporter's own.
    const weights = initializer.flatMap((t) => {
      const own = rename(t.name!);
      return known.has(own) ? [[own, toTensor(decodeTensor(t, own))] as const] : [];
    });
    net.loadState(new Map(weights));

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
  it.each(measured)("$name", { timeout: 600_000 }, async ({ file, name, output }) => {
    const child = fileURLToPath(new URL("published-child.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", child, file, name], {
      cwd: root,
    });
    const { shapes, initialize, build, compile: compiling, load: loading, peakBytes, run } = JSON.parse(stdout) as Cost;
    console.info(name, { initialize, build, compile: compiling, load: loading, peakGB: peakBytes / 1e9, run });
    expect(shapes).toEqual([[1, ...output]]);
    expect(build + compiling).toBeLessThan(10);
    expect(loading).toBeLessThan(3);
    expect(initialize).toBeLessThan(3);
    expect(peakBytes).toBeLessThan(2e9);
  });
});
