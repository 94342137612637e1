/**
 * Layers whose weight is computed from what is learnt: weight normalisation and spectral normalisation, with the names of PyTorch's
 * `torch.nn.utils.parametrizations`.
 */

import { moveAxis, np, reshapeTo, square, sum } from "../../../ir/build.js";
import { matmul } from "../../../ir/einsum.js";
import { InternalError, ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { choices } from "../../../ir/names.js";
import { sqrt } from "../../../ir/ops/elementwise.js";
import { stopGradient } from "../../../ir/ops/gradient.js";
import { elementCount, toNumbers } from "../../../ir/tensor.js";
import { aString, describe } from "../../options.js";
import {
  parameter as argument,
  count,
  defined,
  integer,
  type Kind,
  type OptionsOf,
  option,
  optional,
  type Settings,
  settle,
  size,
} from "../../schema.js";
import type { Context } from "../context.js";
import { normalize } from "../f/product.js";
import type { Initializer } from "../init.js";
import { buffer, Module, parameter, type Variable } from "../module.js";
import { ConvTransposeLayer } from "./conv.js";

const common = {
  name: option(aString as Kind<string>, "weight", "Which of the layer's own parameters"),
  axis: optional(integer, "The axis of its units. Default: 0, and 1 for transposed convolutions"),
};
const spectralOptions = {
  ...common,
  iterations: option(count, 1, "Steps of the power iteration in each pass that trains"),
  epsilon: option(size, 1e-12, "Least length that is divided by"),
};
export type WeightNormOptions = OptionsOf<typeof common>;
export type SpectralNormOptions = OptionsOf<typeof spectralOptions>;

type AnyLayer = Module<never, unknown>;
const layerArgument = argument(
  "layer",
  { expected: "a layer", fits: (v) => v instanceof Module } as Kind<AnyLayer>,
  "Any with the parameter; it is used through this one only",
);

/** A layer with one of its parameters computed. */
export abstract class ParametrizedLayer<I extends readonly unknown[], O> extends Module<I, O> {
  readonly layer: Module<I, O>;
  protected override readonly name: string;
  protected readonly axis: number;
  protected readonly variable: Variable;

  constructor(what: string, layer: Module<I, O>, { name, axis }: Settings<typeof common>) {
    super();
    if (!layerArgument.fits(layer))
      throw new ModelError({ where: `nn.${what}`, message: `expected a layer, got ${describe(layer)}` });
    const own = [...Module.membersOf(layer as AnyLayer)].filter(
      ([, v]) => isVariable(v) && v.role === "param" && v.shape.length >= 2,
    );
    const found = own.find(([n]) => n === name)?.[1] as Variable | undefined;
    if (found === undefined)
      throw new ModelError({
        where: `nn.${what}`,
        message: `${layer.constructor.name} has no parameter "${name}" of two axes or more`,
        hint: choices(
          name,
          own.map(([n]) => n),
          "it has",
        ),
      });
    const at = axis ?? (layer instanceof ConvTransposeLayer ? 1 : 0);
    if (at < 0 || at >= found.shape.length)
      throw new ModelError({ where: `nn.${what}`, message: `axis ${at} is none of [${found.shape}]` });
    this.layer = layer;
    this.name = name;
    this.axis = at;
    this.variable = found;
  }

  /** What stands for the parameter. */
  protected abstract parts(): readonly (readonly [name: string, Variable])[];
  protected abstract compute(ctx: Context): Value;

  protected override members(): Iterable<readonly [string, unknown]> {
    const others = [...Module.membersOf(this.layer as AnyLayer)].filter(([, v]) => v !== this.variable);
    return [...others, ...this.parts().map(([part, v]) => [`parametrizations.${this.name}.${part}`, v] as const)];
  }

  forward(ctx: Context, ...inputs: I): O {
    return ctx.computed(this.variable, this.compute(ctx), () => this.layer.forward(ctx, ...inputs));
  }
}

const isVariable = (v: unknown): v is Variable => typeof v === "object" && v !== null && "initializer" in v;

/** The first value of a variable that comes before in the model. */
function firstValue(v: Variable): readonly number[] {
  if (v.value === undefined) throw new InternalError("a value that others begin from was not drawn before them");
  return toNumbers(v.value);
}

// ---------------------------------------------------------------------------------------------- weight norm

/** The weight is magnitude · direction/|direction| for each unit. */
export class WeightNormLayer<I extends readonly unknown[], O> extends ParametrizedLayer<I, O> {
  readonly magnitude: Variable;

  constructor(layer: Module<I, O>, settings: Settings<typeof common>) {
    super("weightNorm", layer, settings);
    const { shape } = this.variable;
    // The weight begins as the layer's own.
    const lengths: Initializer = () => {
      const values = firstValue(this.variable);
      const inner = elementCount(shape.slice(this.axis + 1));
      const squares = new Float64Array(shape[this.axis]!);
      values.forEach((v, i) => {
        squares[Math.floor(i / inner) % squares.length]! += v * v;
      });
      return squares.map(Math.sqrt);
    };
    this.magnitude = parameter(
      shape.map((d, a) => (a === this.axis ? d : 1)),
      lengths,
    );
  }

  protected parts(): readonly (readonly [string, Variable])[] {
    return [
      ["original1", this.variable],
      ["original0", this.magnitude],
    ];
  }

  protected compute(ctx: Context): Value {
    const direction = ctx.value(this.variable);
    const axes = direction.type.shape.map((_, a) => a).filter((a) => a !== this.axis);
    const length = sqrt([sum(square(direction), axes, { keepDims: true })]);
    return np.mul(direction, np.div(ctx.value(this.magnitude), length));
  }
}

type WeightNormOf = <I extends readonly unknown[], O>(
  layer: Module<I, O>,
  options?: WeightNormOptions,
) => WeightNormLayer<I, O>;
/**
 * The layer with its weight as a magnitude and a direction, which are learnt apart: https://arxiv.org/abs/1602.07868,
 * `torch.nn.utils.parametrizations.weight_norm`. Names: `parametrizations.weight.original0` and `.original1`.
 */
export const weightNorm: WeightNormOf = defined(
  {
    name: "nn.weightNorm",
    summary: "The layer with its weight as a magnitude and a direction, which are learnt apart",
    parameters: [layerArgument],
    options: common,
  },
  (layer, options) => new WeightNormLayer(layer, settle("nn.weightNorm", options, common)),
);

// -------------------------------------------------------------------------------------------- spectral norm

/** The weight is divided by its largest singular value, which a power iteration follows. */
export class SpectralNormLayer<I extends readonly unknown[], O> extends ParametrizedLayer<I, O> {
  readonly u: Variable;
  readonly v: Variable;
  readonly #iterations: number;
  readonly #epsilon: number;

  constructor(layer: Module<I, O>, settings: Settings<typeof spectralOptions>) {
    super("spectralNorm", layer, settings);
    this.#iterations = settings.iterations;
    this.#epsilon = settings.epsilon;
    const rows = this.variable.shape[this.axis]!;
    this.u = buffer([rows], (shape, random) => {
      let u = normalized(Float64Array.from({ length: shape[0]! }, () => random.normal()));
      const matrix = this.#matrix();
      for (let i = 0; i < 15; i++) u = normalized(times(matrix, normalized(timesTransposed(matrix, u))));
      return u;
    });
    this.v = buffer([elementCount(this.variable.shape) / rows], () =>
      normalized(timesTransposed(this.#matrix(), Float64Array.from(firstValue(this.u)))),
    );
  }

  /** Rows of the first weight, one for each unit. */
  #matrix(): readonly Float64Array[] {
    const { shape } = this.variable;
    const [rows, inner] = [shape[this.axis]!, elementCount(shape.slice(this.axis + 1))];
    const found = Array.from({ length: rows }, (): number[] => []);
    firstValue(this.variable).forEach((v, i) => {
      found[Math.floor(i / inner) % rows]!.push(v);
    });
    return found.map((row) => Float64Array.from(row));
  }

  protected parts(): readonly (readonly [string, Variable])[] {
    return [
      ["original", this.variable],
      ["0._u", this.u],
      ["0._v", this.v],
    ];
  }

  protected compute(ctx: Context): Value {
    const weight = ctx.value(this.variable);
    const matrix = reshapeTo(moveAxis(weight, this.axis, 0), [this.u.shape[0]!, this.v.shape[0]!]);
    let [u, v] = [ctx.value(this.u), ctx.value(this.v)];
    if (ctx.training) {
      const fixed = stopGradient([matrix]);
      for (let i = 0; i < this.#iterations; i++) {
        u = normalize(matmul(fixed, v), 2, 0, this.#epsilon);
        v = normalize(matmul(u, fixed), 2, 0, this.#epsilon);
      }
      ctx.update(this.u, u);
      ctx.update(this.v, v);
    }
    const sigma = matmul(stopGradient([u]), matmul(matrix, stopGradient([v])));
    return np.div(weight, sigma);
  }
}

function normalized(v: Float64Array): Float64Array {
  const length = Math.max(Math.sqrt(v.reduce((s, x) => s + x * x, 0)), 1e-12);
  return v.map((x) => x / length);
}
const times = (rows: readonly Float64Array[], v: Float64Array): Float64Array =>
  Float64Array.from(rows, (row) => row.reduce((s, x, j) => s + x * v[j]!, 0));
function timesTransposed(rows: readonly Float64Array[], u: Float64Array): Float64Array {
  const sums = new Float64Array(rows[0]?.length ?? 0);
  rows.forEach((row, i) => {
    row.forEach((x, j) => {
      sums[j]! += x * u[i]!;
    });
  });
  return sums;
}

type SpectralNormOf = <I extends readonly unknown[], O>(
  layer: Module<I, O>,
  options?: SpectralNormOptions,
) => SpectralNormLayer<I, O>;
/**
 * The layer with its weight divided by its largest singular value: https://arxiv.org/abs/1802.05957,
 * `torch.nn.utils.parametrizations.spectral_norm`. Names: `parametrizations.weight.original`, `.0._u` and `.0._v`.
 */
export const spectralNorm: SpectralNormOf = defined(
  {
    name: "nn.spectralNorm",
    summary: "The layer with its weight divided by its largest singular value, which a power iteration follows",
    parameters: [layerArgument],
    options: spectralOptions,
  },
  (layer, options) => new SpectralNormLayer(layer, settle("nn.spectralNorm", options, spectralOptions)),
);
