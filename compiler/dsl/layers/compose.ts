/** Layers made of layers. */

import { np } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { isValue } from "../../../ir/op.js";
import { describe } from "../../options.js";
import { callable, defined, definitionOf, further, type Kind, parameter, positional } from "../../schema.js";
import type { Context } from "../context.js";
import { type Layer, Module } from "../module.js";

const isLayer: Kind<Layer> = { expected: "a layer", fits: (v) => v instanceof Module };
const layerArgument = (name: string, summary: string) => parameter(name, isLayer, summary);

/** What a layer gave, where that must be one value. */
function one(layer: Module<never, unknown>, y: unknown): Value {
  if (isValue(y)) return y;
  const names = typeof y === "object" && y !== null && !Array.isArray(y) ? Object.keys(y) : [];
  throw new ModelError({
    message: `one value goes on, but ${layer.constructor.name} gives ${names.length > 0 ? names.join(", ") : describe(y)}`,
    hint: `take one of them: nn.Select(layer, (y) => y.${names[0] ?? "output"})`,
  });
}

/** One value out of those that a layer gives. Variables have the names that they have in the layer. */
export class SelectLayer<O> extends Module {
  readonly layer: Module<readonly [Value], O>;
  readonly #pick: (y: O) => Value;

  constructor(layer: Module<readonly [Value], O>, pick: (y: O) => Value) {
    super();
    if (!isLayer.fits(layer))
      throw new ModelError({ where: "nn.Select", message: `expected a layer, got ${describe(layer)}` });
    this.layer = layer;
    this.#pick = pick;
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return Module.membersOf(this.layer);
  }

  forward(ctx: Context, x: Value): Value {
    return one(this, this.#pick(this.layer.forward(ctx, x)));
  }
}
type SelectOf = <O>(layer: Module<readonly [Value], O>, pick: (y: O) => Value) => SelectLayer<O>;
export const Select: SelectOf = defined(
  {
    name: "nn.Select",
    summary:
      "One value of those that a layer gives: `Select(LSTM(8, 16), (y) => nn.lastStep(y.output, 0))`; variables keep the layer's names",
    parameters: [layerArgument("layer", "Of one input"), parameter("pick", callable, "From what it gives to a value")],
  },
  (layer, pick) => new SelectLayer(layer, pick),
);

/** x + body(x); a shortcut changes x where the shapes differ. */
export class ResidualLayer extends Module {
  readonly body: Layer;
  readonly shortcut: Layer | undefined;

  constructor(body: Layer, shortcut?: Layer) {
    super();
    this.body = body;
    this.shortcut = shortcut;
  }

  forward(ctx: Context, x: Value): Value {
    const shortcut = this.shortcut === undefined ? x : one(this.shortcut, this.shortcut(ctx, x));
    return np.add(one(this.body, this.body(ctx, x)), shortcut);
  }
}
export const Residual = positional(
  "nn.Residual",
  "x + body(x); a shortcut changes x where the shapes differ",
  [layerArgument("body", "What is added"), further("shortcut", isLayer, "What x goes through. Default: nothing")],
  (body: Layer, shortcut?: Layer) => new ResidualLayer(body, shortcut),
);

/** Layers one after the other. Their names are their keys, as in PyTorch. */
export class SequentialModule<L extends Readonly<Record<string, Layer>>> extends Module {
  readonly layers: L;

  constructor(layers: L) {
    super();
    this.layers = layers;
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return Object.entries(this.layers);
  }

  forward(ctx: Context, x: Value): Value {
    return Object.values(this.layers).reduce((value, layer) => one(layer, layer(ctx, value)), x);
  }
}

/** `sequential({ conv1: Conv2d(1, 6, 5), relu1: ReLU() })`, or `sequential(Linear(4, 8), ReLU())` with the names 0, 1, … */
export function sequential<L extends Readonly<Record<string, Layer>>>(layers: L): SequentialModule<L>;
export function sequential(...layers: readonly Layer[]): SequentialModule<Readonly<Record<string, Layer>>>;
export function sequential(
  first: Layer | Readonly<Record<string, Layer>> = {},
  ...rest: readonly Layer[]
): SequentialModule<Readonly<Record<string, Layer>>> {
  const layers = first instanceof Module ? [first, ...rest] : Object.values(first);
  const other = layers.find((layer) => !isLayer.fits(layer));
  if (other !== undefined || (rest.length > 0 && !(first instanceof Module)))
    throw new ModelError({
      where: "nn.sequential",
      message: `expected layers one after the other, or one record of them, got ${describe(other ?? first)}`,
      hint: definitionOf(other ?? first)
        ? "call it, so that it makes a layer"
        : "a function becomes a layer by nn.Lambda((x) => …)",
    });
  if (!(first instanceof Module)) return new SequentialModule(first);
  return new SequentialModule(Object.fromEntries([first, ...rest].map((layer, i) => [String(i), layer])));
}
