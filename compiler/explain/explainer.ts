/** What a model looked at: saliency, SmoothGrad, integrated gradients, Grad-CAM and weights of attention. */

import { dimBounds, dimEqual, dimSubstitute, dimSymbols, symbolDim } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { paramName } from "../../ir/graph.js";
import { elementCount, type Tensor, tensor } from "../../ir/tensor.js";
import { randomOf } from "../dsl/random.js";
import { aFunction, aNumber, atLeast, type Checks, checked } from "../options.js";
import { type Explainable, names } from "./explainable.js";

type Tensors = Readonly<Record<string, Tensor>>;

/** Runs what `explainable` gave: a session's `run`, or the reference evaluator. */
export type Run = (feeds: Tensors) => Promise<Readonly<Record<string, unknown>>>;

export interface TargetOptions {
  /** The class whose score is explained: its place among the scores. */
  readonly target: number;
}

export interface SmoothGradOptions extends TargetOptions {
  /** Noisy copies of the input. Default 25. */
  readonly samples?: number;
  /** Standard deviation of the noise, as a part of the input's range. Default 0.15. */
  readonly noise?: number;
  /** Default 0. */
  readonly seed?: number;
}

export interface IntegratedGradientsOptions extends TargetOptions {
  /** Points between baseline and input. Default 32. */
  readonly steps?: number;
  /** What stands for "nothing is there": every element of the baseline. Default 0. */
  readonly baseline?: number;
}

const target = atLeast(0);
const targetChecks: Checks<TargetOptions> = { target };
const smoothChecks: Checks<SmoothGradOptions> = { target, samples: atLeast(1), noise: aNumber, seed: aNumber };
const integratedChecks: Checks<IntegratedGradientsOptions> = { target, steps: atLeast(1), baseline: aNumber };

/**
 * Explains single answers of a model. Each method takes the model's feeds and gives numbers of the input's shape, or of a layer's.
 *
 * ```ts
 * const model = explainable(importOnnx(bytes));
 * const session = await load(await compile(model.graph));
 * const explainer = new Explainer(model, (feeds) => session.run(feeds));
 * const map = await explainer.integratedGradients({ image }, { target: 281 });
 * ```
 */
export class Explainer {
  readonly #model: Explainable;
  readonly #run: Run;

  constructor(model: Explainable, run: Run) {
    if (!aFunction.fits(run))
      throw new ModelError({
        where: "Explainer",
        message: "expected a function that runs the graph, as a session's run",
      });
    this.#model = model;
    this.#run = run;
  }

  /** Scores of all classes, before a softmax. */
  async scores(feeds: Tensors): Promise<Tensor> {
    // Sizes that the model leaves open are those of the feeds, and where these do not tell them, of one sample.
    const { params } = this.#model.graph;
    const sizes = new Map<string, number>();
    for (const p of params)
      for (const [axis, d] of p.type.shape.entries())
        for (const s of dimSymbols(d).values())
          if (dimEqual(d, symbolDim(s)) && !sizes.has(s.name)) sizes.set(s.name, feeds[paramName(p)]?.shape[axis] ?? 1);
    const shape = params.at(-1)!.type.shape.map((d) => dimBounds(dimSubstitute(d, (s) => sizes.get(s.name) ?? 1)).min);
    const results = await this.#results(feeds, tensor("f32", shape, new Float32Array(elementCount(shape))));
    return results[names.scores]!;
  }

  /** |∂score/∂x|. Simonyan, Vedaldi and Zisserman, https://arxiv.org/abs/1312.6034 */
  async saliency(feeds: Tensors, options: TargetOptions): Promise<Tensor> {
    const { target } = checked("saliency", options, targetChecks);
    this.#input();
    const gradient = (await this.#results(feeds, await this.#target(feeds, target)))[names.gradient]!;
    return tensor("f32", gradient.shape, f32Of(gradient).map(Math.abs));
  }

  /** The mean of ∂score/∂x over noisy copies of x. Smilkov et al., https://arxiv.org/abs/1706.03825 */
  async smoothGrad(feeds: Tensors, options: SmoothGradOptions): Promise<Tensor> {
    const { target, samples = 25, noise = 0.15, seed = 0 } = checked("smoothGrad", options, smoothChecks);
    const x = this.#explained(feeds);
    const [low, high] = x.data.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    const random = randomOf(seed, "smoothGrad");
    return this.#meanGradient(feeds, target, samples, () =>
      x.data.map((v) => v + noise * (high - low) * random.normal()),
    );
  }

  /**
   * (x − baseline) · the mean of ∂score/∂x on the straight line between them, by the midpoint rule. Its sum is the score at x less that
   * of the baseline, but for the error of the rule. Sundararajan, Taly and Yan, https://arxiv.org/abs/1703.01365
   */
  async integratedGradients(feeds: Tensors, options: IntegratedGradientsOptions): Promise<Tensor> {
    const { target, steps = 32, baseline = 0 } = checked("integratedGradients", options, integratedChecks);
    const x = this.#explained(feeds);
    const mean = await this.#meanGradient(feeds, target, steps, (i) =>
      x.data.map((v) => baseline + ((i + 0.5) / steps) * (v - baseline)),
    );
    return tensor(
      "f32",
      x.shape,
      f32Of(mean).map((d, i) => d * (x.data[i]! - baseline)),
    );
  }

  /**
   * relu(Σ over channels of mean(∂score/∂layer) · layer), [batch, height, width] of the layer. Selvaraju et al.,
   * https://arxiv.org/abs/1610.02391
   * @throws ModelError where the model has no layer of [batch, channels, height, width]
   */
  async gradCam(feeds: Tensors, options: TargetOptions): Promise<Tensor> {
    const { target } = checked("gradCam", options, targetChecks);
    const { channels } = this.#model;
    if (channels === undefined)
      throw new ModelError({
        where: "gradCam",
        message: "the model has no convolution over two axes",
        hint: "name an output of [batch, channels, height, width] by the option layer of explainable",
      });
    const results = await this.#results(feeds, await this.#target(feeds, target));
    const [layer, gradient] = [results[names.layer]!, results[names.layerGradient]!];
    return weighed(layer, f32Of(layer), f32Of(gradient), channels);
  }

  /** Weights of each attention in the order of computation: [..., queries, keys]. */
  async attention(feeds: Tensors): Promise<readonly Tensor[]> {
    const results = await this.#results(feeds, await this.#target(feeds, 0));
    return Array.from({ length: this.#model.attentions }, (_, i) => results[names.attention(i)]!);
  }

  #explained(feeds: Tensors): {
    readonly name: string;
    readonly shape: readonly number[];
    readonly data: Float32Array;
  } {
    const name = this.#input();
    const x = feeds[name];
    if (x === undefined || !(x.data instanceof Float32Array))
      throw new ModelError({ where: `input "${name}"`, message: "expected a tensor of f32" });
    return { name, shape: x.shape, data: x.data };
  }

  #input(): string {
    const { input } = this.#model;
    if (input !== undefined) return input;
    throw new ModelError({
      where: "Explainer",
      message: "the model has no input of floats, so that there is no gradient",
      hint: "what there is of it are scores and attention",
    });
  }

  /** 1 at the class, 0 elsewhere, of the scores' shape. */
  async #target(feeds: Tensors, target: number): Promise<Tensor> {
    const sizes = this.#model.graph.params.at(-1)!.type.shape;
    const isKnown = sizes.every((d) => typeof d === "number");
    const shape = isKnown ? sizes : (await this.scores(feeds)).shape;
    const classes = classCount(shape);
    if (target >= classes)
      throw new ModelError({ where: "option target", message: `there are ${classes} classes, and ${target} is none` });
    return tensor(
      "f32",
      shape,
      Float32Array.from({ length: elementCount(shape) }, (_, i) => (i % classes === target ? 1 : 0)),
    );
  }

  async #results(feeds: Tensors, target: Tensor): Promise<Tensors> {
    return (await this.#run({ ...feeds, [names.target]: target })) as Tensors;
  }

  async #meanGradient(
    feeds: Tensors,
    target: number,
    count: number,
    input: (i: number) => Float32Array,
  ): Promise<Tensor> {
    const { name, shape, data } = this.#explained(feeds);
    const chosen = await this.#target(feeds, target);
    const total = new Float64Array(data.length);
    for (let i = 0; i < count; i++) {
      const at = tensor("f32", shape, input(i));
      const results = await this.#results({ ...feeds, [name]: at }, chosen);
      for (const [j, d] of f32Of(results[names.gradient]!).entries()) total[j]! += d / count;
    }
    return tensor("f32", shape, Float32Array.from(total));
  }
}

/** Classes of scores: the last size that is not 1, since some exporters leave axes of 1 behind it. */
export const classCount = (shape: readonly number[]): number => shape.findLast((size) => size !== 1) ?? 1;

const f32Of = ({ data }: Tensor): Float32Array => data as Float32Array;

/** Grad-CAM's map of a layer. */
function weighed(layer: Tensor, values: Float32Array, gradient: Float32Array, channels: "first" | "last"): Tensor {
  const [n = 1, a = 1, b = 1, c = 1] = layer.shape;
  const [count, height, width] = channels === "first" ? [a, b, c] : [c, a, b];
  const pixels = height * width;
  const at = (k: number, p: number) => (channels === "first" ? k * pixels + p : p * count + k);
  const map = new Float32Array(n * pixels);
  for (let s = 0; s < n; s++) {
    const start = s * count * pixels;
    for (let k = 0; k < count; k++) {
      let weight = 0;
      for (let p = 0; p < pixels; p++) weight += gradient[start + at(k, p)]! / pixels;
      for (let p = 0; p < pixels; p++) map[s * pixels + p]! += weight * values[start + at(k, p)]!;
    }
  }
  return tensor(
    "f32",
    [n, height, width],
    map.map((v) => Math.max(0, v)),
  );
}
