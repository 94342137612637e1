/** Each system of models/ learns at a reduced size, and its exports give ONNX Runtime and a second import the same outputs. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { trainModule, trainModuleOf } from "../../compiler/cli/train-module.js";
import { compile, exportOnnx, importOnnx, type Program } from "../../index.js";
import { dimBounds, dimSubstitute, dimSymbols } from "../../ir/dim.js";
import { type Graph, paramName } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import { load, type TrainingSession } from "../../runtime/index.js";
import { sampleTensor, seeded } from "../graph/random.js";
import { compareTensors } from "../onnx/compare.js";
import { hasOnnxRuntime, howToGetIt, runOnnxRuntime } from "../onnx/onnxruntime.js";
import { type Exported, folders, type System } from "./system.js";

const file = (folder: string, name: string) => new URL(`../../models/${folder}/${name}`, import.meta.url);
const variants = ["simd128"] as const;

async function moduleOf(folder: string) {
  const exports = (await import(/* @vite-ignore */ file(folder, "train.ts").pathname)) as Record<string, unknown>;
  const given = exports.default;
  const program = (typeof given === "function" ? await given() : given) as Program;
  return trainModuleOf(folder, folder, program, exports);
}

it("all systems are tested, and have what each should", () => {
  const described = readdirSync(new URL("systems/", import.meta.url)).map((name) => name.replace(/\.ts$/, ""));
  expect(described.sort()).toEqual(folders);
  for (const folder of folders) {
    for (const name of ["model.ts", "README.md"])
      expect(existsSync(file(folder, name)), `${folder}/${name}`).toBe(true);
    expect(readFileSync(file(folder, "model.ts"), "utf8").split("\n").length, folder).toBeLessThanOrEqual(150);
  }
});

/** Feeds for a graph whose sizes have the values given, or small ones. */
function feedsOf(graph: Graph, { dims = {}, range: whole = [0, 9] }: Exported): Readonly<Record<string, Tensor>> {
  const random = seeded(5);
  return Object.fromEntries(
    graph.params.map((p) => {
      const shape = p.type.shape.map((d) => {
        const fixed = dimSubstitute(d, (s) => dims[s.name] ?? Math.max(3, s.min));
        expect(typeof fixed, `${paramName(p)}: give ${[...dimSymbols(fixed).keys()]} in dims`).toBe("number");
        return dimBounds(fixed).min;
      });
      const range = /^[iu]/.test(p.type.dtype) ? whole : ([0, 1] as const);
      return [paramName(p), sampleTensor(random, { dtype: p.type.dtype, shape, range })];
    }),
  );
}

const systems = await Promise.all(
  folders.map(async (folder) => {
    const { default: system } = (await import(`./systems/${folder}.ts`)) as { readonly default: System };
    return { folder, ...system };
  }),
);

describe.each(systems)(`models/$folder${howToGetIt}`, ({ folder, reduced, exported }) => {
  it("learns", { timeout: 300_000 }, async () => {
    const module = await moduleOf(folder);
    const { goal, dataset } = module;
    expect(goal, "a goal").toBeDefined();
    const cut = reduced.samples === undefined ? dataset : cutTo(dataset, reduced.samples);
    const session = await load<TrainingSession>(await compile(module.program, { variants }), { threads: 1 });
    const { figures, history } = await trainModule(
      folder,
      { ...module, ...(cut === undefined ? {} : { dataset: cut as never }) },
      session,
      { epochs: reduced.epochs, signal: new AbortController().signal },
    );
    const value = figures[reduced.figure ?? goal!.figure];
    if (reduced.figure !== undefined || goal!.atLeast !== undefined)
      expect(value).toBeGreaterThanOrEqual(reduced.reaches);
    else expect(value).toBeLessThanOrEqual(reduced.reaches);
    for (const [name, content] of Object.entries((await module.show?.(session, history)) ?? {}))
      expect(content.length, name).toBeGreaterThan(100);
    session.dispose();
  });

  it.each(exported.map((e) => [e.entry, e] as const))(
    "%s computes the same in ONNX Runtime and imported again",
    { timeout: 120_000 },
    async (entry, how) => {
      const { program } = await moduleOf(folder);
      const bytes = exportOnnx(program, { entry });
      const again = importOnnx(bytes);
      const feeds = feedsOf(again, how);
      const own = await load(await compile(program, { variants }), { threads: 1 });
      const want = await own.run(feeds as never, { entry });
      own.dispose();
      const back = await load(await compile(again, { variants }), { threads: 1 });
      const outputs = [(await back.run(feeds as never)) as Record<string, Tensor>];
      back.dispose();
      if (hasOnnxRuntime) outputs.push(await runOnnxRuntime(bytes, feeds));
      for (const got of outputs)
        for (const [name, tensor] of Object.entries(want))
          expect(compareTensors(got[name]!, tensor as Tensor, { rtol: 1e-5, atol: 1e-5 }), name).toBeUndefined();
    },
  );
});

/** The first samples of arrays, or of a data set. */
function cutTo(dataset: unknown, samples: number): unknown {
  if (typeof (dataset as { take?: unknown })?.take === "function")
    return (dataset as { take(count: number): unknown }).take(samples);
  return Object.fromEntries(
    Object.entries(dataset as Record<string, Tensor>).map(([name, t]) => {
      const shape = [samples, ...t.shape.slice(1)];
      const size = shape.reduce((a, b) => a * b, 1);
      return [name, { ...t, shape, data: t.data.slice(0, size) }];
    }),
  );
}
