/**
 * Late binding: compiles a model for feeds.
 *
 * Some models are no single program: how many axes a value has, what is concatenated, how often a loop is written out depend on
 * ranks, sizes, values, lengths that only feeds have. The importer says which facts about the inputs it needs (`Problem.needs`);
 * here the feeds answer, and the import starts over, until nothing more is needed. So exactly what is needed is fixed; all else
 * stays dynamic. What was fixed stands in the manifest.
 */

import { ModelError, type Need, type Problem } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import type { FixedFact, Manifest, OutputForm, Specialization } from "../../runtime/format.js";
import { type Artifact, type CompileOptions, checkCompileChoices, compile, compileChecks } from "../compile.js";
import type { FileBytes } from "../onnx/file-bytes.js";
import { importModel } from "../onnx/import.js";
import { importChecks, nameProblems } from "../onnx/import-options.js";
import type { Structure } from "../onnx/importer.js";
import type { ImportOptions } from "../onnx/inputs.js";
import { type OnnxModel, readOnnx } from "../onnx/model.js";
import { type Checks, checkOptions, pick } from "../options.js";
import { fileNameOf } from "../write.js";
import {
  type BoundTensor,
  brokenSymbols,
  inputsFrom,
  type ModelValue,
  outputsFrom,
  serves,
  termsOf,
} from "./binding.js";
import { Facts, withTooLarge } from "./facts.js";
import { type FlatFeeds, flattenFeeds, type ModelFeeds } from "./feeds.js";

/** Options of importing and of compiling. What they fix of the inputs goes over what the feeds say. */
export interface LateOptions extends Omit<ImportOptions, "feeds">, CompileOptions {
  /** Time that each import and the compilation may take. */
  readonly maxSeconds?: number;
}

const { feeds: _, ...importerChecks } = importChecks;
export const lateChecks: Checks<LateOptions> = { ...importerChecks, ...compileChecks };

/** Between the values of a model and an artefact of it. */
export interface LateBinding {
  /** What was fixed about the inputs; also in the manifest. */
  readonly fixed: readonly FixedFact[];
  /** Whether the artefact gives the right outputs for the feeds. */
  serves(feeds: ModelFeeds): boolean;
  /** The inputs of its session. */
  inputsOf(feeds: ModelFeeds): Record<string, BoundTensor>;
  /** The model's outputs, out of all results of its session. */
  outputsOf(results: Readonly<Record<string, Tensor>>): Record<string, ModelValue>;
}

/** An artefact made for feeds. Its session takes `inputsOf(feeds)`; `outputsOf` makes the model's outputs of what it gives. */
export interface LateArtifact extends Artifact, LateBinding {
  /** What it was compiled from. */
  readonly graph: Graph;
}

/** A model imported for feeds. */
export interface ImportedFor {
  readonly graph: Graph;
  readonly specialization: Omit<Specialization, "relations">;
  /** By symbol. */
  readonly openSizes: ReadonlyMap<string, Need>;
  readonly foundSizes: readonly Need[];
}

/** Imports with more and more facts, until the model is a program. */
export function importFor(model: OnnxModel, facts: Facts, options: ImportOptions = {}): ImportedFor {
  for (;;)
    try {
      const { graph, outputs, openSizes, foundSizes } = importModel(model, facts.importOptions(options));
      const forms = outputs.map(({ name, structure }) => ({ name, form: formOf(structure, graph.resultNames) }));
      return { graph, specialization: { fixed: facts.list, outputs: forms }, openSizes, foundSizes };
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      if (!facts.resolve(error.problems)) throw withTooLarge(error, facts.tooLarge);
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
    let artifact: Artifact;
    try {
      artifact = await compile(program, {
        ...pick(options, compileChecks),
        name: options.name ?? fileNameOf(graph.name),
      });
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      // What can't be compiled for all sizes may be compiled for these.
      if (![[...openSizes.values()], foundSizes].some((needs) => facts.answerAll(needs))) throw error;
      continue;
    }
    // Sizes that inference took to be equal, and are not here: an axis of size 1 that broadcasts, for one.
    const broken = brokenSymbols(termsOf(artifact.manifest), feeds).flatMap((symbol) => openSizes.get(symbol) ?? []);
    if (facts.answerAll(broken)) continue;
    return { ...artifact, ...bindingOf(model, artifact.manifest, options), graph };
  }
}

/**
 * Compiles a model that is read already for whatever feeds come: sizes stay as open as the file has them. Undefined where it is no program
 * until feeds say more about its inputs.
 *
 * @throws ModelError where no feeds could help
 */
export async function compileAhead(model: OnnxModel, options: LateOptions): Promise<LateArtifact | undefined> {
  let imported: ReturnType<typeof importModel>;
  try {
    imported = importModel(model, options);
  } catch (error) {
    if (error instanceof ModelError && error.problems.some(canFeedsHelp)) return undefined;
    throw error;
  }
  const { graph, outputs, openSizes, foundSizes } = imported;
  const forms = outputs.map(({ name, structure }) => ({ name, form: formOf(structure, graph.resultNames) }));
  const program = { entries: { main: graph }, state: [], specialization: { fixed: [], outputs: forms } };
  try {
    const name = options.name ?? fileNameOf(graph.name);
    const artifact = await compile(program, { ...pick(options, compileChecks), name });
    return { ...artifact, ...bindingOf(model, artifact.manifest, options), graph };
  } catch (error) {
    // As where feeds are there: what can't be compiled for all sizes may be compiled for theirs.
    if (error instanceof ModelError && openSizes.size + foundSizes.length > 0) return undefined;
    throw error;
  }
}

const canFeedsHelp = ({ needs = [], sizes = [], unless = [] }: Problem): boolean =>
  needs.length + sizes.length + unless.length > 0;

/** The binding of an artefact of a model. */
export function bindingOf(model: OnnxModel, manifest: Manifest, options: ImportOptions): LateBinding {
  const terms = termsOf(manifest);
  const flatten = (given: ModelFeeds) => flattenFor(model, given, options);
  return {
    fixed: terms.fixed,
    serves: (given) => serves(terms, flatten(given)),
    inputsOf: (given) => inputsFrom(terms, flatten(given)),
    outputsOf: (results) => outputsFrom(manifest.specialization?.outputs ?? [], results),
  };
}

export const flattenFor = (model: OnnxModel, feeds: ModelFeeds, options: ImportOptions): FlatFeeds =>
  flattenFeeds(model.graph.inputs, feeds, {
    fixed: new Set(Object.keys(options.values ?? {})),
    overridable: model.graph.overridable ?? [],
  });

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
export async function compileFor(file: FileBytes, feeds: ModelFeeds, options: LateOptions = {}): Promise<LateArtifact> {
  checkOptions("compileFor", options, lateChecks);
  checkCompileChoices(options);
  const model = readOnnx(file, options);
  const problems = nameProblems(model, options);
  if (problems.length > 0) throw new ModelError(problems);
  return specialize(model, flattenFor(model, feeds, options), options);
}
