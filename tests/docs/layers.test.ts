/** The reference of the layers is that of their schemas, which check what each of them is given. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { nn } from "../../compiler/dsl/index.js";
import { Module } from "../../compiler/dsl/module.js";
import { type Definition, definitionOf, type Parameter } from "../../compiler/schema.js";
import { ModelError } from "../../ir/errors.js";
import { layerDefinitions, torchTable, withLayers } from "../../scripts/generate-layer-reference.js";
import { loggedBy } from "./run-page.js";

const page = new URL("../../docs/LAYERS.md", import.meta.url);

it("docs/LAYERS.md is up to date (npm run docs)", () => {
  const text = readFileSync(page, "utf8");
  expect(text === withLayers(text)).toBe(true);
});

const definitions = layerDefinitions().flatMap(([, all]) => all);
type Make = (...args: readonly unknown[]) => unknown;
const byName = nn as unknown as Readonly<Record<string, unknown>>;
const makeOf = (d: Definition): Make => byName[d.name.slice(3)] as Make;

it("every function of nn that makes a layer has a definition under its name", () => {
  const notLayers = ["Context", "Module", "Variable"];
  const isClass = (v: unknown) => typeof v === "function" && /^class\b/.test(String(v));
  const names = Object.entries(byName)
    .filter(([name, v]) => typeof v === "function" && !isClass(v) && /^[A-Z]/.test(name) && !notLayers.includes(name))
    .map(([name]) => `nn.${name}`);
  expect(names.length).toBeGreaterThan(100);
  expect(names.filter((name) => !definitions.some((d) => d.name === name))).toEqual([]);
  for (const d of definitions) expect(definitionOf(makeOf(d)), d.name).toBe(d);
});

it("the table of torch.nn tells of each module, and only of those that have other names", () => {
  expect(torchTable()).toContain("| MultiheadAttention | `nn.MultiHeadAttention` |");
  expect(torchTable()).not.toMatch(/[|,] Conv2d/);
});

/** Something that the argument takes. */
function example(p: Parameter<unknown>): unknown {
  const candidates = [4, "f32", [4, 4], [[1, 1]], nn.Linear(4, 4), nn.LayerNorm(4), (x: unknown) => x];
  const found = candidates.find((c) => p.fits(c));
  if (found === undefined) throw new Error(`nothing fits ${p.name}: ${p.expected}`);
  return found;
}
const fitting = (d: Definition) => (d.parameters ?? []).filter((p) => !p.optional).map(example);

describe("options", () => {
  const withOptions = definitions.filter((d) => d.options !== undefined);
  it.each(withOptions.map((d) => [d.name, d] as const))("%s refuses those that it has not", (_, d) => {
    const make = makeOf(d);
    const refused = (options: unknown, text: string) => {
      const run = () => make(...fitting(d), options);
      expect(run).toThrow(ModelError);
      expect(run).toThrow(text);
    };
    refused({ nonsense: 1 }, '"nonsense"');
    refused(7, "options");
    for (const name of Object.keys(d.options!)) refused({ [name]: Symbol(name) }, name);
  });

  it.each(withOptions.map((d) => [d.name, d] as const))("%s takes its defaults for what they are", (_, d) => {
    if (d.name.startsWith("nn.Up")) return;
    const make = makeOf(d);
    const stated = Object.fromEntries(Object.entries(d.options!).map(([name, o]) => [name, o.default]));
    const [plain, told] = [make(...fitting(d)), make(...fitting(d), stated)] as const;
    expect(plain).toBeInstanceOf(Module);
    const shapes = (m: unknown) => [...(m as nn.Layer).variables()].map(([name, v]) => [name, v.role, v.shape]);
    expect(shapes(told)).toEqual(shapes(plain));
  });
});

describe("arguments", () => {
  const checked = definitions.filter((d) => d.parameters?.length && !d.parameters[0]!.name.startsWith("..."));
  it.each(checked.map((d) => [d.name, d] as const))("%s names one that does not fit", (_, d) => {
    const run = () => makeOf(d)(Symbol("wrong"));
    expect(run).toThrow(ModelError);
    expect(run).toThrow(d.name);
  });
});

it("LAYERS.md shows code that runs", async () => {
  expect(await loggedBy("LAYERS.md")).toEqual(["fc.parametrizations.weight.original", ["output"]]);
});
