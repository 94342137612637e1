/**
 * Late binding: compiles a model for feeds.
 *
 * Some models are no single program: how many axes a value has, what is concatenated, how often a loop is written out depend on
 * ranks, sizes, values, lengths that only feeds have. The importer says which facts about the inputs it needs (`Problem.needs`);
 * here the feeds answer, and the import starts over, until nothing more is needed. So exactly what is needed is fixed; all else
 * stays dynamic. What was fixed stands in the manifest.
 */

import { ModelError, type Need } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import type { FixedFact, OutputForm, Specialization } from "../../runtime/format.js";
import { type Artifact, type CompileOptions, compile } from "../compile.js";
import { importModel } from "../onnx/import.js";
import type { ImportOptions, Structure } from "../onnx/importer.js";
import { type OnnxModel, readOnnx } from "../onnx/model.js";
import { inputsFrom, type ModelValue, outputsFrom, serves } from "./binding.js";
import { Facts, withTooLarge } from "./facts.js";
import { type FlatFeeds, flattenFeeds, type ModelFeeds } from "./feeds.js";

/** Options of importing and of compiling. What they fix of the inputs goes over what the feeds say. */
export interface LateOptions extends Omit<ImportOptions, "narrowTo">, CompileOptions {
  /** Time that each import and the compilation may take. */
  readonly maxSeconds?: number;
}

/** An artefact made for feeds. Its session takes `inputsOf(feeds)`; `outputsOf` makes the model's outputs of what it gives. */
export interface LateArtifact extends Artifact {
  /** What it was compiled from. */
  readonly graph: Graph;
  /** What was fixed about the inputs; also in the manifest. */
  readonly fixed: readonly FixedFact[];
  /** Whether it gives the right outputs for the feeds. */
  serves(feeds: ModelFeeds): boolean;
  inputsOf(feeds: ModelFeeds): Record<string, Tensor>;
  outputsOf(results: Readonly<Record<string, Tensor>>): Record<string, ModelValue>;
}

/** A model imported for feeds. */
export interface ImportedFor {
  readonly graph: Graph;
  readonly specialization: Specialization;
  readonly openSizes: readonly Need[];
  readonly foundSizes: readonly Need[];
}

/** Whether one of the answers fixes something that was open. */
const answerAll = (facts: Facts, needs: readonly Need[]): boolean =>
  needs.map((need) => facts.answer(need)).some((fixed) => fixed);

/** Imports with more and more facts, until the model is a program. */
export function importFor(model: OnnxModel, facts: Facts, options: ImportOptions = {}): ImportedFor {
  for (;;)
    try {
      const { graph, outputs, openSizes, foundSizes } = importModel(model, facts.importOptions(options));
      const forms = outputs.map(({ name, structure }) => ({ name, form: formOf(structure, graph.resultNames) }));
      return { graph, specialization: { fixed: facts.list, outputs: forms }, openSizes, foundSizes };
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      const needs = error.problems.flatMap((p) => p.needs ?? []);
      if (!answerAll(facts, needs)) throw withTooLarge(error, facts.tooLarge);
    }
}

function formOf(structure: Structure, names: readonly string[]): OutputForm {
  switch (structure.kind) {
    case "tensor":
    case "stacked":
      return { kind: structure.kind, output: names[structure.at]! };
    case "sequence":
      return { kind: "sequence", items: structure.items.map((item) => formOf(item, names)) };
    case "absent":
      return structure;
    default:
      return structure satisfies never;
  }
}

/** Compiles a model that is read already for checked feeds. */
export async function specialize(model: OnnxModel, feeds: FlatFeeds, options: LateOptions): Promise<LateArtifact> {
  const facts = new Facts(feeds);
  for (;;) {
    const { graph, specialization, openSizes, foundSizes } = importFor(model, facts, options);
    const program = { entries: { main: graph }, state: [], specialization };
    try {
      const artifact = await compile(program, { ...options, name: options.name ?? graph.name });
      return bind(model, artifact, graph, specialization, options);
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      // What can't be compiled for all sizes may be compiled for these.
      if (![openSizes, foundSizes].some((needs) => answerAll(facts, needs))) throw error;
    }
  }
}

function bind(
  model: OnnxModel,
  artifact: Artifact,
  graph: Graph,
  { fixed, outputs }: Specialization,
  options: LateOptions,
): LateArtifact {
  const { manifest } = artifact;
  const flatten = (given: ModelFeeds) => flattenFor(model, given, options);
  return {
    ...artifact,
    graph,
    fixed,
    serves: (given) => serves(manifest, flatten(given)),
    inputsOf: (given) => inputsFrom(manifest, flatten(given)),
    outputsOf: (results) => outputsFrom(outputs, results),
  };
}

export const flattenFor = (model: OnnxModel, feeds: ModelFeeds, options: ImportOptions): FlatFeeds =>
  flattenFeeds(model.graph.inputs, feeds, new Set(Object.keys(options.values ?? {})));

/**
 * Compiles a `.onnx` file for feeds: what only feeds decide (ranks, lengths of sequences, values that shapes are made of …) is fixed to
 * what these say, everything else stays as dynamic as the file has it.
 *
 *     const artifact = await compileFor(bytes, feeds);
 *     const session = await load(artifact);
 *     const outputs = artifact.outputsOf(await session.run(artifact.inputsOf(feeds)));
 *
 * @throws ModelError listing all problems of the feeds or the model
 */
export async function compileFor(
  bytes: Uint8Array,
  feeds: ModelFeeds,
  options: LateOptions = {},
): Promise<LateArtifact> {
  const model = readOnnx(bytes, options);
  return specialize(model, flattenFor(model, feeds, options), options);
}
