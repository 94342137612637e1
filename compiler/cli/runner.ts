/** Runs whatever was named with given tensors: an artefact, a model that is compiled as it is, or an ONNX file for what its feeds decide. */

import { readFile } from "node:fs/promises";
import { ModelError } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import type { FixedFact } from "../../runtime/format.js";
import { load, type Session } from "../../runtime/index.js";
import { compile } from "../compile.js";
import type { ModelValue } from "../late/binding.js";
import { type CachedArtifact, ModelCache } from "../late/cache.js";
import type { ModelFeed, ModelFeeds } from "../late/feeds.js";
import type { OnnxModel, OnnxType } from "../onnx/model.js";
import { type CompileFlags, compileOptions } from "./compile.js";
import type { DimOption } from "./dim-flag.js";
import { isUrl, onDisk } from "./download.js";
import { entryOf } from "./entry.js";
import { asStored } from "./feeds.js";
import { specOfType } from "./import-flags.js";
import type { InputSpec } from "./inputs.js";
import { type KeyFlags, keyOption } from "./key.js";
import { loadModel } from "./load-model.js";

export type Tensors = Readonly<Record<string, Tensor>>;

export interface RunnerFlags extends CompileFlags, KeyFlags {
  readonly threads?: number;
  readonly entry?: string;
}

/** What is run for given tensors: a graph, if it is not an artefact's, and its own inputs. */
export interface Bound {
  readonly graph: Graph | undefined;
  readonly feeds: Tensors;
  /** What the tensors decided. */
  readonly fixed: readonly FixedFact[];
}

export interface Runner {
  readonly inputs: readonly InputSpec[];
  /** An input, or item of a sequence, by name. */
  specOf(name: string): InputSpec | undefined;
  /** Runs once. Items of a sequence `s` are `s.0`, `s.1` … among inputs and outputs; tensors that are no inputs are left aside. */
  run(tensors: Tensors): Promise<{ readonly outputs: Tensors; readonly bound: Bound }>;
  dispose(): void;
}

export const sessionOptions = (flags: RunnerFlags) => ({
  threads: flags.threads ?? 1,
  ...(flags.deterministic ? { deterministic: true } : {}),
});

/** @param dims ranges or values of an ONNX file's named dims */
export async function openRunner(path: string, flags: RunnerFlags, dims: DimOption = {}): Promise<Runner> {
  const key = await keyOption(path, flags);
  if (path.endsWith(".wasm"))
    return runnerOf(await load(path, { ...sessionOptions(flags), ...key }), undefined, flags.entry);
  if (isOnnx(path) && flags.entry === undefined) return lateRunner(path, flags, dims);
  const model = await loadModel(path);
  const { main } = model.program.entries;
  const artifact = await compile(model.program, compileOptions(flags, model.name));
  return runnerOf(await load(artifact, sessionOptions(flags)), main, flags.entry);
}

/** Addresses may have more behind the name. */
const isOnnx = (path: string): boolean => (isUrl(path) ? new URL(path).pathname : path).endsWith(".onnx");

function runnerOf(session: Session, graph?: Graph, asked?: string): Runner {
  const { name: entry, inputs } = entryOf(session, asked);
  return {
    inputs,
    specOf: (name) => inputs.find((i) => i.name === name),
    async run(tensors) {
      const feeds = Object.fromEntries(
        inputs.map(({ name, dtype }) => {
          if (Object.hasOwn(tensors, name)) return [name, asStored(tensors[name]!, dtype)];
          const given = Object.keys(tensors).join(", ") || "none";
          throw new ModelError({ where: `input "${name}"`, message: "missing", hint: `given: ${given}` });
        }),
      );
      const outputs = (await session.run(feeds as never, { entry })) as Tensors;
      return { outputs, bound: { graph, feeds, fixed: [] } };
    },
    dispose: () => session.dispose(),
  };
}

async function lateRunner(given: string, flags: RunnerFlags, dims: DimOption): Promise<Runner> {
  const path = await onDisk(given);
  const sessions = new Map<CachedArtifact, Session>();
  const dispose = (artifact: CachedArtifact): void => {
    sessions.get(artifact)?.dispose();
    sessions.delete(artifact);
  };
  const name = path.replace(/^.*[\\/]/, "").replace(/\.onnx$/, "");
  const cache = new ModelCache(new Uint8Array(await readFile(path)), {
    ...compileOptions(flags, name),
    dims,
    path,
    onEvict: dispose,
  });
  const inputs = [...cache.model.graph.inputs, ...(cache.model.graph.overridable ?? [])];
  const typeNamed = (wanted: string): OnnxType | undefined => {
    const found = inputs.find((i) => i.name === wanted);
    if (found) return found.type;
    const item = /^(.+)\.\d+$/.exec(wanted);
    const list = item ? typeNamed(item[1]!) : undefined;
    return list?.kind === "sequence" ? list.element : undefined;
  };
  const specOf = (wanted: string): InputSpec | undefined => {
    const type = typeNamed(wanted);
    return type && specOfType(wanted, type);
  };
  return {
    inputs: cache.model.graph.inputs.map((i) => specOf(i.name) ?? { name: i.name, dtype: undefined, shape: undefined }),
    specOf,
    async run(tensors) {
      const given = feedsOf(cache.model, tensors);
      const artifact = await cache.artifactFor(given);
      const session = sessions.get(artifact) ?? (await load(artifact, sessionOptions(flags)));
      sessions.set(artifact, session);
      const feeds = artifact.inputsOf(given);
      const outputs = tensorsOf(artifact.outputsOf((await session.run(feeds)) as Tensors));
      return { outputs, bound: { graph: artifact.graph, feeds, fixed: artifact.fixed } };
    },
    dispose: () => cache.dispose(),
  };
}

/** The model's feeds out of tensors by name. */
function feedsOf({ graph }: OnnxModel, tensors: Tensors): ModelFeeds {
  const feedOf = (name: string, type: OnnxType | undefined): ModelFeed | undefined => {
    if (type?.kind === "optional") return feedOf(name, type.element) ?? null;
    if (type?.kind !== "sequence") {
      const given = Object.hasOwn(tensors, name) ? tensors[name] : undefined;
      const dtype = type?.kind === "tensor" && type.dtype !== "string" ? type.dtype : undefined;
      return given && dtype ? asStored(given, dtype) : given;
    }
    const items: ModelFeed[] = [];
    for (;;) {
      const item = feedOf(`${name}.${items.length}`, type.element);
      if (item === undefined || item === null) return items;
      items.push(item);
    }
  };
  const feeds: Record<string, ModelFeed> = {};
  for (const { name, type } of [...graph.inputs, ...(graph.overridable ?? [])]) {
    const feed = feedOf(name, type);
    if (feed !== undefined) feeds[name] = feed;
  }
  return feeds;
}

function tensorsOf(values: Readonly<Record<string, ModelValue>>): Tensors {
  const flat: Record<string, Tensor> = {};
  const add = (name: string, value: ModelValue): void => {
    if (value === null) return;
    if ("dtype" in value) flat[name] = value;
    else
      value.forEach((item, i) => {
        add(`${name}.${i}`, item);
      });
  };
  for (const [name, value] of Object.entries(values)) add(name, value);
  return flat;
}
