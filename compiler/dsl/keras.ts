/**
 * Keras's weights for models of this package. A tensor of Keras has a path (`sequential/conv2d/kernel`, Keras 2: `conv2d/kernel:0`);
 * the part that names the layer says which of our layers it belongs to, and a table says how each kind of layer lays its weights out
 * (keras-layers.ts).
 */

import { ModelError, type Problem } from "../../ir/errors.js";
import { graph, type Value } from "../../ir/graph.js";
import { choices } from "../../ir/names.js";
import { constant } from "../../ir/ops/constant.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { anyOf, kindOf, list, type OptionsOf, optional, settle } from "../schema.js";
import { convert, type KerasLayer, kerasLayersOf } from "./keras-layers.js";
import type { Module, StateSource, Variable } from "./module.js";
import { readWeights } from "./weights-file.js";

type Names = Readonly<Record<string, string | readonly string[]>>;
type Shapes = Readonly<Record<string, readonly number[]>>;
const isRecord = (v: unknown, item: (x: unknown) => boolean): boolean =>
  typeof v === "object" && v !== null && !Array.isArray(v) && Object.values(v).every(item);
const isText = (v: unknown): boolean => typeof v === "string";

const kerasOptions = {
  layers: optional(
    anyOf(
      kindOf<"inOrder">('"inOrder"', (v) => v === "inOrder"),
      kindOf<Names>("names of Keras's layers by the names of ours", (v) =>
        isRecord(v, (x) => isText(x) || (Array.isArray(x) && x.every(isText))),
      ),
    ),
    "Which of Keras's layers each of ours takes: by name, a list for layers that are stacked; or in the order of the tensors. Default: those called as ours, with / or _ for dots",
  ),
  flattened: optional(
    kindOf<Shapes>("shapes by the names of our layers", (v) =>
      isRecord(v, (x) => list(kindOf("", Number.isSafeInteger)).fits(x)),
    ),
    "Of linear layers behind a Flatten: the shape [C, …] of what is flattened, since Keras has the channels last",
  ),
};
export type KerasOptions = OptionsOf<typeof kerasOptions>;

/** A tensor and the parts of its path. */
interface Entry {
  readonly key: string;
  readonly parts: readonly string[];
  readonly tensor: Tensor;
}

function entriesOf(source: StateSource): readonly Entry[] {
  const given =
    source instanceof Uint8Array
      ? readWeights(source)
      : source instanceof Map
        ? source
        : new Map(Object.entries(source));
  return [...given]
    .filter(([key]) => !key.includes("seed_generator"))
    .map(([key, tensor]) => ({ key, parts: key.replace(/:\d+$/, "").split("/"), tensor: tensor as Tensor }));
}

/** Segments inside a Keras layer: cells, directions, parts of attention. */
const isInner = (part: string): boolean =>
  /_cell(_\d+)?$|^(forward|backward)_|^(query|key|value|attention_output)$/.test(part);

/** The path of the layer that a tensor belongs to. */
function pathOf({ parts }: Entry): string {
  let end = parts.length - 1;
  while (end > 1 && isInner(parts[end - 1]!)) end--;
  return parts.slice(0, end).join("/");
}

const layerFrom = (name: string, entries: readonly Entry[], depth: (e: Entry) => number): KerasLayer => ({
  name,
  tensors: new Map(
    entries.map((e) => [e.parts.slice(depth(e)).join("/"), { key: e.key, value: constant([], { value: e.tensor }) }]),
  ),
});

/** Where the parts of a name begin among those of a path; −1 if they are not there. */
function placeOf(name: readonly string[], parts: readonly string[]): number {
  for (let at = 0; at + name.length < parts.length; at++)
    if (name.every((part, i) => parts[at + i] === part)) return at;
  return -1;
}

/** Keras's layer of this name. */
function named(name: string, entries: readonly Entry[]): KerasLayer | undefined {
  const wanted = name.split("/");
  const found = entries.filter((e) => placeOf(wanted, e.parts) >= 0);
  const end = (e: Entry) => placeOf(wanted, e.parts) + wanted.length;
  const paths = new Set(found.map((e) => e.parts.slice(0, end(e)).join("/")));
  if (paths.size > 1)
    throw new ModelError({
      message: `"${name}" names several of Keras's layers: ${[...paths].join(", ")}`,
      hint: "give more of the path",
    });
  return found.length === 0 ? undefined : layerFrom(name, found, end);
}

/** All of Keras's layers, in the order of their first tensors. */
function inOrder(entries: readonly Entry[]): readonly KerasLayer[] {
  const groups = new Map<string, Entry[]>();
  for (const e of entries) groups.set(pathOf(e), [...(groups.get(pathOf(e)) ?? []), e]);
  return [...groups].flatMap(([path, own]) => {
    const layer = layerFrom(path, own, () => path.split("/").length);
    // A separable convolution is two layers of ours.
    return layer.tensors.has("depthwise_kernel") && layer.tensors.has("pointwise_kernel") ? [layer, layer] : [layer];
  });
}

/** What to tell of a layer for which there is nothing. */
const absent = (where: string, entries: readonly Entry[], wanted: string): Problem => ({
  where,
  message: `there is no layer "${wanted}" among the tensors`,
  hint: `${choices(wanted, [...new Set(entries.map(pathOf))].slice(0, 40), "Keras's layers are")}; say which: { layers: { "${where}": … } }`,
});

/**
 * Gives a model Keras's weights: kernels transposed, gates reordered, one bias as two where the layer has two. Options of layers that
 * Keras has by default otherwise (`epsilon` and `momentum` of norms, `bias: "single"`) are the model's own.
 *
 * ```py
 * np.savez("weights.npz", **{w.path: w.numpy() for w in model.weights})   # or safetensors.numpy.save_file({...}, path)
 * ```
 * @param source tensors by Keras's paths, or the bytes of a safetensors file
 * @throws ModelError listing what is missing, superfluous or of another shape; then nothing is changed
 */
export function fromKeras<M extends Module<never, unknown>>(model: M, source: StateSource, options?: KerasOptions): M {
  const { layers, flattened = {} } = settle("nn.fromKeras", options, kerasOptions);
  const entries = entriesOf(source);
  const ours = kerasLayersOf(model);
  const problems: Problem[] = [];
  const unknown = (record: object, what: string) => {
    for (const name of Object.keys(record))
      if (!ours.some((o) => o.path === name))
        problems.push({
          where: name,
          message: `the model has no such layer for ${what}`,
          hint: choices(
            name,
            ours.map((o) => o.path),
            "its layers are",
          ),
        });
  };
  if (typeof layers === "object") unknown(layers, "layers");
  unknown(flattened, "flattened");
  const queue = layers === "inOrder" ? [...inOrder(entries)] : [];
  const taken = new Set<string>();
  const found = new Map<Variable, Value>();
  for (const { path, module, count } of ours) {
    const theirs: KerasLayer[] = [];
    if (layers === "inOrder") {
      const next = queue.splice(0, count);
      if (next.length < count) problems.push({ where: path, message: "Keras's layers have come to an end" });
      theirs.push(...next);
    } else {
      const wanted = [layers?.[path] ?? [path.replaceAll(".", "/"), path.replaceAll(".", "_")]].flat();
      const given = layers?.[path] !== undefined;
      const all = wanted.map((name) => named(name, entries));
      const have = given ? all : all.filter((l) => l !== undefined).slice(0, 1);
      have.forEach((l, i) => {
        if (l === undefined) problems.push(absent(path, entries, wanted[i]!));
        else theirs.push(l);
      });
      if (have.length === 0) problems.push(absent(path, entries, wanted[0]!));
      else if (have.length !== count)
        problems.push({ where: path, message: `takes ${count} of Keras's layers, but ${have.length} are given` });
    }
    if (theirs.length !== count) continue;
    try {
      for (const [v, value] of convert(module, theirs, { flattened: flattened[path], taken })) found.set(v, value);
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      problems.push(...error.problems.map((p) => ({ ...p, where: path })));
    }
  }
  const names = [...model.variables()];
  const without = names.filter(
    ([name, v]) => !found.has(v) && !ours.some((o) => o.path === "" || name.startsWith(`${o.path}.`)),
  );
  for (const [name] of without)
    problems.push({
      where: name,
      message: "no layer of Keras is known for this variable",
      hint: "give it with loadState",
    });
  for (const { key } of entries)
    if (!taken.has(key) && problems.length === 0)
      problems.push({ where: key, message: "no layer of the model takes this tensor of Keras" });
  if (problems.length > 0) throw new ModelError(problems);
  const [variables, values] = [[...found.keys()], [...found.values()]];
  const tensors = evaluate(graph("weights", [], values), []);
  const nameOf = new Map(names.map(([name, v]) => [v, name]));
  return model.loadState(new Map(variables.map((v, i) => [nameOf.get(v)!, tensors[i]!])), { partial: true });
}
