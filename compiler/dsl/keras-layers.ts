/** How Keras lays out the weights of each kind of layer, and how ours take them. */

import { concatenate, permute, rankOf, reshapeTo, split, staticSize, takeAt } from "../../ir/build.js";
import { ModelError } from "../../ir/errors.js";
import { typeText, type Value } from "../../ir/graph.js";
import { full } from "../../ir/ops/constant.js";
import { PReLULayer } from "./layers/activation.js";
import { MultiHeadAttentionModule } from "./layers/attention.js";
import { SelectLayer } from "./layers/compose.js";
import { ConvLayer, ConvTransposeLayer } from "./layers/conv.js";
import { EmbeddingLayer } from "./layers/embedding.js";
import { LinearLayer } from "./layers/linear.js";
import { BatchNormLayer, GroupNormLayer, LayerNormLayer, RMSNormLayer } from "./layers/norm.js";
import { GRUModule, RecurrentModule } from "./layers/recurrent.js";
import type { Module, Variable } from "./module.js";

/** A layer of Keras: its tensors by what follows its name in their paths. */
export interface KerasLayer {
  readonly name: string;
  readonly tensors: ReadonlyMap<string, { readonly key: string; readonly value: Value }>;
}

interface ConvertOptions {
  readonly flattened: readonly number[] | undefined;
  /** Whether Keras's layer has a tensor of this name. */
  readonly has: (name: string) => boolean;
}

export interface KerasTaking {
  /** Shape of what a linear layer has flattened. */
  readonly flattened: readonly number[] | undefined;
  /** Keys of the tensors that were taken. */
  readonly taken: Set<string>;
}

/** The tensor of one of these names. */
type Take = (...names: readonly string[]) => Value | undefined;
type Weights = Iterable<readonly [Variable | undefined, Value | undefined]>;
type Converter = (module: AnyLayer, take: Take, options: ConvertOptions) => Weights;
type AnyLayer = Module<never, unknown>;

const must = (value: Value | undefined, what: string): Value => {
  if (value !== undefined) return value;
  throw new ModelError(`Keras's layer has no ${what}`);
};

/** [a, b, …] → [b, …, a] and the like, by the end of the axes: Keras has kernels as [window …, in, out]. */
function lastFirst(kernel: Value, ...order: readonly number[]): Value {
  const rank = rankOf(kernel);
  return permute(kernel, [...order.map((a) => a + rank), ...Array.from({ length: rank - 2 }, (_, a) => a)]);
}

/** Scale and offset of norms, which Keras may leave out. */
function affine(weight: Variable | undefined, bias: Variable | undefined, take: Take): Weights {
  const like = (v: Variable | undefined, value: number) => v && full("f32", v.shape, value);
  return [
    [weight, take("gamma", "scale") ?? like(weight, 1)],
    [bias, take("beta") ?? like(bias, 0)],
  ];
}

/** Rows of a kernel whose input was flattened with the channels last, for one with the channels first. */
function unflattened(kernel: Value, shape: readonly number[]): Value {
  const [channels, ...spatial] = shape;
  const out = staticSize(kernel, 1, "a kernel");
  if (shape.reduce((n, d) => n * d, 1) !== kernel.type.shape[0])
    throw new ModelError(`a flattened [${shape}] does not fit the kernel ${typeText(kernel.type)}`);
  const apart = reshapeTo(kernel, [...spatial, channels!, out]);
  return reshapeTo(lastFirst(apart, -1, -2), [out, -1]);
}

function linearWeights(m: LinearLayer, take: Take, { flattened }: ConvertOptions): Weights {
  const kernel = must(take("kernel"), "kernel");
  const own = flattened === undefined ? permute(kernel, [1, 0]) : unflattened(kernel, flattened);
  return [
    [m.weight, own],
    [m.bias, take("bias")],
  ];
}

function convWeights(m: ConvLayer, take: Take, { has }: ConvertOptions): Weights {
  const [out, perGroup] = m.weight.shape;
  const isDepthwise = perGroup === 1 && m.groups > 1;
  const kernel = must(isDepthwise ? take("depthwise_kernel", "kernel") : take("pointwise_kernel", "kernel"), "kernel");
  // A depthwise kernel is [window …, in, multiple], of which output channel in · multiple + m is one place.
  const isOwnForm = isDepthwise && kernel.type.shape.at(-2) === m.groups;
  const weight = isOwnForm
    ? reshapeTo(lastFirst(kernel, -2, -1), [out!, 1, ...m.weight.shape.slice(2)])
    : lastFirst(kernel, -1, -2);
  return [
    [m.weight, weight],
    // The bias of a separable convolution is that of its second half.
    [m.bias, isDepthwise && has("pointwise_kernel") ? undefined : take("bias")],
  ];
}

/** Keras's gates in our order: those of a GRU are update, reset, new. */
const reordered = (m: AnyLayer, v: Value, axis: number): Value => {
  if (!(m instanceof GRUModule)) return v;
  const [update, reset, fresh] = split(v, axis, 3);
  return concatenate([reset!, update!, fresh!], axis);
};

/** Weights of one layer and direction of a recurrent layer. */
function directionWeights(m: RecurrentModule<never>, suffix: string, take: Take): Weights {
  const own = m.ownVariables();
  const bias = take("bias");
  const [first, second] = [own.get(`bias_ih_${suffix}`), own.get(`bias_hh_${suffix}`)];
  const isDouble = bias !== undefined && rankOf(bias) === 2;
  if (m instanceof GRUModule && bias !== undefined && isDouble !== m.resetAfter)
    throw new ModelError({
      message: `Keras's layer has ${isDouble ? "two biases" : "one bias"} a gate, so its reset is ${isDouble ? "after" : "before"} the product`,
      hint: `give ours { resetAfter: ${isDouble} }`,
    });
  if (isDouble && second === undefined)
    throw new ModelError({
      message: "Keras's layer has two biases a gate, ours one",
      hint: "give ours { bias: true }",
    });
  const ordered = bias && reordered(m, bias, isDouble ? 1 : 0);
  const zeros = second && full("f32", second.shape, 0);
  return [
    [own.get(`weight_ih_${suffix}`), permute(reordered(m, must(take("kernel"), "kernel"), 1), [1, 0])],
    [
      own.get(`weight_hh_${suffix}`),
      permute(reordered(m, must(take("recurrent_kernel"), "recurrent_kernel"), 1), [1, 0]),
    ],
    [first, isDouble ? takeAt(ordered!, 0, 0) : ordered],
    [second, isDouble ? takeAt(ordered!, 0, 1) : ordered && zeros],
  ];
}

function attentionWeights(m: MultiHeadAttentionModule, take: Take): Weights {
  const into = ["query", "key", "value"].map((part) => {
    const kernel = must(take(`${part}/kernel`), `${part}/kernel`);
    const [input, heads, size] = kernel.type.shape as readonly number[];
    if (heads !== m.heads || heads! * size! !== m.features)
      throw new ModelError(
        `Keras's ${part} has ${heads} heads of ${size}, ours ${m.heads} of ${m.features / m.heads}: together they must have as many features as the query`,
      );
    const bias = take(`${part}/bias`);
    return {
      weight: permute(reshapeTo(kernel, [input!, heads! * size!]), [1, 0]),
      bias: bias && reshapeTo(bias, [-1]),
    };
  });
  const kernel = must(take("attention_output/kernel"), "attention_output/kernel");
  const biases = into.flatMap(({ bias }) => (bias === undefined ? [] : [bias]));
  const separate = [m.q_proj_weight, m.k_proj_weight, m.v_proj_weight];
  return [
    ...(m.in_proj_weight === undefined
      ? separate.map((v, i) => [v, into[i]!.weight] as const)
      : [
          [
            m.in_proj_weight,
            concatenate(
              into.map(({ weight }) => weight),
              0,
            ),
          ] as const,
        ]),
    [m.in_proj_bias, biases.length === 3 ? concatenate(biases, 0) : undefined],
    [m.out_proj.weight, permute(reshapeTo(kernel, [m.features, -1]), [1, 0])],
    [m.out_proj.bias, take("attention_output/bias")],
  ];
}

type Class<M> = abstract new (...args: never[]) => M;
const row = <M extends AnyLayer>(
  of: Class<M>,
  weights: (m: M, take: Take, options: ConvertOptions) => Weights,
): readonly [Class<AnyLayer>, Converter] => [of as Class<AnyLayer>, weights as unknown as Converter];

const converters: readonly (readonly [Class<AnyLayer>, Converter])[] = [
  row(LinearLayer, linearWeights),
  row(ConvLayer, convWeights),
  row(ConvTransposeLayer, (m, take) => [
    [m.weight, lastFirst(must(take("kernel"), "kernel"), -1, -2)],
    [m.bias, take("bias")],
  ]),
  row(BatchNormLayer, (m, take) => [
    ...affine(m.weight, m.bias, take),
    [m.running_mean, take("moving_mean")],
    [m.running_var, take("moving_variance")],
  ]),
  row(LayerNormLayer, (m, take) => affine(m.weight, m.bias, take)),
  row(GroupNormLayer, (m, take) => affine(m.weight, m.bias, take)),
  row(RMSNormLayer, (m, take) => affine(m.weight, undefined, take)),
  row(EmbeddingLayer, (m, take) => [[m.weight, must(take("embeddings"), "embeddings")]]),
  row(PReLULayer, (m, take) => [[m.weight, reshapeTo(must(take("alpha"), "alpha"), [-1])]]),
  row(MultiHeadAttentionModule, attentionWeights),
];

export interface OurLayer {
  readonly path: string;
  readonly module: AnyLayer;
  /** How many of Keras's layers it is. */
  readonly count: number;
}

/** The layer whose outputs one is selected from. */
const selected = (m: AnyLayer): AnyLayer => (m instanceof SelectLayer ? selected(m.layer as AnyLayer) : m);

const hasConverter = (m: AnyLayer): boolean =>
  m instanceof RecurrentModule || converters.some(([of]) => m instanceof of);

/** The layers of a model that Keras has as well, in order; what is inside them is theirs. */
export function kerasLayersOf(model: AnyLayer): readonly OurLayer[] {
  const found: OurLayer[] = [];
  for (const [path, member] of model.modules()) {
    const module = selected(member);
    const isInside = found.some((o) => o.path === "" || path.startsWith(`${o.path}.`));
    if (isInside || !hasConverter(module) || module.variables().size === 0) continue;
    found.push({ path, module, count: module instanceof RecurrentModule ? module.settings.layers : 1 });
  }
  return found;
}

/** The tensors of one of Keras's layers by name; `direction` is that of a bidirectional one. */
function takerOf(layer: KerasLayer, taken: Set<string>, direction?: "forward" | "backward"): Take {
  return (...names) => {
    for (const [role, { key, value }] of layer.tensors) {
      const parts = role.split("/").filter((p) => !/_cell(_\d+)?$/.test(p));
      const isOther = parts[0]?.startsWith(direction === "backward" ? "forward_" : "backward_") ?? false;
      if (isOther && direction !== undefined) continue;
      const rest = parts.filter((p) => direction === undefined || !p.startsWith(`${direction}_`)).join("/");
      if (!names.includes(rest)) continue;
      taken.add(key);
      return value;
    }
    return undefined;
  };
}

/** Values of a layer's variables from Keras's layers. @throws ModelError where something is missing or has another form */
export function convert(
  module: AnyLayer,
  theirs: readonly KerasLayer[],
  options: KerasTaking,
): ReadonlyMap<Variable, Value> {
  const weights = [...weightsOf(module, theirs, options)];
  const found = new Map<Variable, Value>();
  const nameOf = new Map([...module.variables()].map(([name, v]) => [v, name]));
  for (const [v, value] of weights) {
    if (v === undefined) continue;
    if (value === undefined) throw new ModelError(`Keras's layer ${theirs[0]!.name} has nothing for ${nameOf.get(v)}`);
    if (value.type.shape.join() !== v.shape.join())
      throw new ModelError(`${nameOf.get(v)} has shape [${v.shape}], Keras's layer gives [${value.type.shape}]`);
    found.set(v, value);
  }
  return found;
}

function* weightsOf(module: AnyLayer, theirs: readonly KerasLayer[], { flattened, taken }: KerasTaking): Weights {
  if (module instanceof RecurrentModule) {
    const { bidirectional } = module.settings;
    for (const { name, tensors } of theirs)
      if ([...tensors.keys()].some((role) => role.startsWith("forward_")) !== bidirectional)
        throw new ModelError({
          message: `Keras's layer ${name} has ${bidirectional ? "one direction, ours two" : "two directions, ours one"}`,
          hint: `give ours { bidirectional: ${!bidirectional} }`,
        });
    for (const { layer, suffix, reverse } of module.places()) {
      const direction = bidirectional ? (reverse ? "backward" : "forward") : undefined;
      yield* directionWeights(module as RecurrentModule<never>, suffix, takerOf(theirs[layer]!, taken, direction));
    }
    return;
  }
  const [, converter] = converters.find(([of]) => module instanceof of)!;
  const has = (name: string) => theirs[0]!.tensors.has(name);
  yield* converter(module, takerOf(theirs[0]!, taken), { flattened, has });
}
