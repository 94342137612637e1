/**
 * Graph IR → ONNX.
 *
 * Composites are written as the ONNX op of the same meaning where there is one, else as their definition; named sizes become
 * dim_params, and sizes that ops need are read off shapes; named constants and state become initializers. What
 * ONNX can't express is collected, and one ModelError lists everything.
 */

import { type DimSymbol, dimSymbols } from "../../../ir/dim.js";
import { ModelError } from "../../../ir/errors.js";
import { type Graph, paramName } from "../../../ir/graph.js";
import type { Tensor } from "../../../ir/tensor.js";
import { anObject, aString, atLeast, type Checks, checkOptions, recordOf } from "../../options.js";
import type { Program } from "../../program.js";
import { version } from "../../version.js";
import { type GivenWeights, isTrainingState, weightsByName } from "../../weights-given.js";
import { DIMS_KEY } from "../model.js";
import type { GraphProto, ModelProto } from "../proto-types.js";
import { encodeModel } from "../protobuf.js";
import { NEWEST_OPSET } from "../schema.js";
import { type GraphDraft, type NodeDraft, type Ref, type TypedRef, tensorAttr } from "./draft.js";
import { Emitter } from "./emitter.js";
import { ModelDraft, OLDEST_TARGET } from "./model-draft.js";
import { prune } from "./prune.js";
import { emitNode } from "./rows/index.js";
import { Serializer } from "./serialize.js";

export interface ExportOptions {
  /**
   * Values of weights over those that the graph or program holds, by name: tensors, or a safetensors file such as a session's
   * `save()` or `exportSafetensors()` gives.
   */
  readonly weights?: GivenWeights;
  /** Which graph of a program. Default: `predict` of a training program, else `main` or the only one. */
  readonly entry?: string;
  /**
   * Opset of the file, 18 to the newest. Default: 20, or what the graph needs. From 21 on GroupNormalization, from 23 on
   * Attention and RMSNormalization are written as such.
   */
  readonly opset?: number;
  readonly producerName?: string;
  readonly producerVersion?: string;
  /** For people. */
  readonly docString?: string;
  /** metadata_props of the model. */
  readonly metadata?: Readonly<Record<string, string>>;
}

const exportChecks: Checks<ExportOptions> = {
  weights: anObject,
  entry: aString,
  opset: atLeast(1),
  producerName: aString,
  producerVersion: aString,
  docString: aString,
  metadata: recordOf(aString),
};

/** IR version with which each opset came. */
const IR_VERSIONS: readonly (readonly [opset: number, ir: number])[] = [
  [26, 13],
  [25, 13],
  [24, 12],
  [23, 11],
  [21, 10],
  [19, 9],
  [0, 8],
];

interface Target {
  readonly graph: Graph;
  readonly states: ReadonlyMap<string, Tensor>;
  /** Names that weights may have although the graph does not use them. */
  readonly unused: ReadonlySet<string>;
}

function targetOf(input: Graph | Program, entry: string | undefined): Target {
  if (!("entries" in input)) return { graph: input, states: new Map(), unused: new Set() };
  const names = Object.keys(input.entries);
  const name = entry ?? input.training?.fit?.predict ?? (names.includes("main") ? "main" : names[0]!);
  const graph = input.entries[name];
  if (!graph) throw new ModelError(`the program has no entry "${name}", only ${names.join(", ")}`);
  return {
    graph,
    states: new Map(input.state.map((s) => [s.name, s.tensor])),
    unused: new Set(input.state.map((s) => s.name)),
  };
}

/** A model as drafts: what `exportOnnx` and the template of a training artefact share. */
export interface Drafted {
  readonly model: ModelDraft;
  readonly graph: GraphDraft;
  /** Initializers that are state. */
  readonly states: ReadonlyMap<Ref, Tensor>;
  readonly serializer: Serializer;
}

/** @throws ModelError listing all problems */
export function draft(input: Graph | Program, options: ExportOptions): Drafted {
  const { opset } = options;
  if (opset !== undefined && !(Number.isInteger(opset) && opset >= OLDEST_TARGET && opset <= NEWEST_OPSET))
    throw new ModelError({
      message: `opset ${opset} can't be written: exports have opset ${OLDEST_TARGET} to ${NEWEST_OPSET}`,
      hint: "convert the file with onnx.version_converter",
    });
  const { graph: g, states: known, unused } = targetOf(input, options.entry);
  const weights = weightsByName(options.weights);
  // ONNX has no state: what an entry changes goes in as it was and comes out as it is then.
  const outputs = g.results.map((value, i) => {
    const name = g.resultNames[i]!;
    return { value, name: g.donations?.has(i) ? `present.${name}` : name };
  });
  const changed = new Set([...(g.donations?.values() ?? [])].map((i) => g.params[i]));
  const reserved = new Set([
    ...g.params.map(paramName),
    ...[...changed].map((p) => `past.${paramName(p!)}`),
    ...outputs.map((o) => o.name),
  ]);
  const model = new ModelDraft(opset, weights, reserved);
  const e = new Emitter(model, emitNode);

  const inputs: TypedRef[] = [];
  const states = new Map<Ref, Tensor>();
  for (const p of g.params) {
    const name = changed.has(p) ? `past.${paramName(p)}` : paramName(p);
    const ref: Ref = { hint: name, fixed: name };
    e.set(p, ref);
    const tensor = known.get(name);
    if (tensor) states.set(ref, model.weight(name, tensor));
    else inputs.push({ ref, type: p.type });
    model.needType(p.type.dtype, "", name);
  }
  for (const { ref, type } of inputs) e.sizes.defineFrom(ref, type.shape);
  const refs = e.body(g);
  const made = new Set<Ref>(e.nodes.flatMap((n) => n.outputs));
  const taken = new Set(g.params.map(paramName));
  const typed = outputs.map(({ value, name }): TypedRef => {
    if (taken.has(name))
      model.problems.push({
        where: name,
        message: "an output has the name of another output or of an input",
        hint: "rename it",
      });
    taken.add(name);
    const ref = refs[g.results.indexOf(value)]!;
    // An output is what a node makes, and no other output is the same.
    const own = made.delete(ref) ? ref : e.op("Identity", [ref]);
    own.fixed = name;
    return { ref: own, type: value.type };
  });
  for (const name of weights.keys())
    if (!model.replaced.has(name) && !unused.has(name) && !isTrainingState(name))
      model.problems.push({ where: name, message: "a new value is given, but the model has no weight of this name" });
  if (model.problems.length > 0) throw new ModelError(unique(model.problems));
  const constants = [...model.constants].map(
    ([ref, value]): NodeDraft => ({
      op: "Constant",
      inputs: [],
      outputs: [ref],
      attrs: { value: tensorAttr(value) },
      loc: undefined,
    }),
  );
  const used = new Set<Ref>();
  const pruned = prune({ name: g.name, inputs, outputs: typed, nodes: [...constants, ...e.nodes] }, used);
  for (const ref of [...model.initializers.keys()]) if (!used.has(ref)) model.initializers.delete(ref);
  const fixed = [...[...model.initializers.keys(), ...states.keys()].flatMap((r) => r.fixed ?? []), ...taken];
  return {
    model,
    graph: pruned,
    states,
    serializer: new Serializer(fixed),
  };
}

function unique<T>(problems: readonly T[]): T[] {
  const seen = new Set<string>();
  return problems.filter((p) => {
    const key = JSON.stringify(p);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** Ranges of named sizes that are not [1, ∞). */
function rangesOf(graph: GraphDraft): Readonly<Record<string, readonly [number, number | null]>> {
  const symbols = new Map<string, DimSymbol>();
  for (const { type } of graph.inputs) for (const d of type.shape) dimSymbols(d, symbols);
  const ranged = [...symbols.values()].filter((s) => s.min !== 1 || s.max !== Number.POSITIVE_INFINITY);
  return Object.fromEntries(ranged.map((s) => [s.name, [s.min, Number.isFinite(s.max) ? s.max : null] as const]));
}

/** The model's message around a graph. */
export function modelProto({ model, graph }: Drafted, proto: GraphProto, options: ExportOptions): ModelProto {
  const ranges = rangesOf(graph);
  const metadata = [
    ...(Object.keys(ranges).length > 0 ? [[DIMS_KEY, JSON.stringify(ranges)] as const] : []),
    ...Object.entries(options.metadata ?? {}),
  ];
  return {
    irVersion: IR_VERSIONS.find(([opset]) => model.opset >= opset)![1],
    producerName: options.producerName ?? "wasmith",
    producerVersion: options.producerVersion ?? version,
    ...(options.docString === undefined ? {} : { docString: options.docString }),
    graph: proto,
    opsetImport: [{ domain: "", version: model.opset }],
    ...(metadata.length > 0 ? { metadataProps: metadata.map(([key, value]) => ({ key, value })) } : {}),
  };
}

/**
 * Writes a graph, or the graph of a program that predicts, as an ONNX file that other runtimes load. Equal input and options give
 * equal bytes.
 *
 * ```ts
 * const bytes = exportOnnx(toGraph(net, { inputs: { x: ["batch", 1, 32, 32] } }));
 * const trained = exportOnnx(program, { weights: await session.exportSafetensors() });
 * ```
 *
 * @throws ModelError listing ALL that ONNX can't express, with the layers
 */
export function exportOnnx(input: Graph | Program, options: ExportOptions = {}): Uint8Array {
  checkOptions("exportOnnx", options, exportChecks);
  const drafted = draft(input, options);
  const { model, graph, states, serializer } = drafted;
  const proto = serializer.graph(graph);
  const initializer = [...states, ...model.initializers].map(([ref, tensor]) => serializer.initializer(ref, tensor));
  const bytes = encodeModel(modelProto(drafted, { ...proto, initializer }, options));
  if (bytes.length >= 2 ** 31)
    throw new ModelError({
      message: `the file would have ${bytes.length} bytes; protobuf ends at 2 GiB`,
      hint: "export the weights as safetensors instead",
    });
  return bytes;
}
