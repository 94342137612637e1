/**
 * Measures generated digits: a small classifier learns digits, and the Fréchet distance tells how far what it sees in generated digits is from
 * what it sees in digits. As Heusel et al., 2017 (https://arxiv.org/abs/1706.08500) do with photographs.
 */

import { compile, F, type Goal, nn, optim, program, type SessionOf } from "wasmith";
import { dataset, randomOf } from "wasmith/data";
import { load, type Tensor } from "wasmith/runtime";
import { smallDigits } from "./data/digits.js";
import { frechetDistance } from "./frechet.js";
import { floats } from "./values.js";

/** Pictures [count, 1, 16, 16] of values in [-1, 1]. */
export type Pictures = Tensor<"f32">;

/** Numbers that a picture is told by. */
const features = 32;
const body = nn.sequential(
  nn.Conv2d(1, 12, 3, { stride: 2, padding: 1 }),
  nn.ReLU(),
  nn.Conv2d(12, 24, 3, { stride: 2, padding: 1 }),
  nn.ReLU(),
  nn.Flatten(),
  nn.Linear(24 * 4 * 4, features),
  nn.Tanh(),
);
const head = nn.Linear(features, 10);

const judgeProgram = program(
  { body, head },
  {
    step: {
      inputs: { x: ["batch", 1, 16, 16], y: { dtype: "i32", shape: ["batch"] } },
      run: (ctx, { x, y }) => ({
        loss: ctx.minimize(F.crossEntropy(head(ctx, body(ctx, x)), y), [body, head], optim.Adam({ lr: 2e-3 })),
      }),
    },
    see: { inputs: { x: ["batch", 1, 16, 16] }, run: (ctx, { x }) => ({ features: body(ctx, x) }) },
  },
);

export class Judge {
  private readonly session: SessionOf<typeof judgeProgram>;

  private constructor(session: SessionOf<typeof judgeProgram>) {
    this.session = session;
  }

  /** Learns the 5,000 digits of the test, which generators do not see, in the same way each time. */
  static async trained(): Promise<Judge> {
    const session = await load(await compile(judgeProgram, { variants: ["simd128"] }));
    await session.fit(dataset(await smallDigits("test")).shuffle({ seed: 1 }), {
      epochs: 4,
      batchSize: 50,
      progress: false,
    });
    return new Judge(session);
  }

  /** Fréchet distance between what is seen in two sets of pictures. */
  async distance(a: Pictures, b: Pictures): Promise<number> {
    const [seenA, seenB] = [await this.session.see({ x: a }), await this.session.see({ x: b })];
    return frechetDistance(floats(seenA.features), floats(seenB.features), features);
  }

  dispose(): void {
    this.session.dispose();
  }
}

/** Fréchet distance of pictures that were made from the digits that generators learn from. */
export async function frechet(made: Pictures): Promise<number> {
  const judge = await Judge.trained();
  const distance = await judge.distance(made, (await smallDigits("train")).x);
  judge.dispose();
  return distance;
}

/** Half of the baseline's, which dcgan/baseline.ts computes. */
export const frechetGoal: Goal = {
  figure: "frechet",
  atMost: 0.235,
  baseline: { name: "a normal distribution of pixels for each digit", value: 0.471 },
};

/**
 * The baseline: pictures drawn, for each digit, from the normal distribution with the means and covariances of all pixels: sums of the deviations
 * of given pictures with random weights have it.
 */
export function normalPictures({ x, y }: { x: Pictures; y: Int32Array }, count: number, seed: number): Pictures {
  const random = randomOf(seed);
  const pixels = x.data.length / y.length;
  const pictures = Array.from(y, (_, i) => x.data.subarray(i * pixels, (i + 1) * pixels));
  const classes = Array.from({ length: 10 }, (_, digit) => {
    const own = pictures.filter((_, i) => y[i] === digit);
    const mean = Float32Array.from({ length: pixels }, (_, i) => own.reduce((sum, p) => sum + p[i]! / own.length, 0));
    return { mean, deviations: own.map((p) => p.map((v, i) => v - mean[i]!)) };
  });
  const made = new Float32Array(count * pixels);
  for (let n = 0; n < count; n++) {
    // Digits as often as they are given.
    const { mean, deviations } = classes[y[random.integer(y.length)]!]!;
    const picture = made.subarray(n * pixels, (n + 1) * pixels);
    picture.set(mean);
    for (const deviation of deviations) {
      const weight = random.normal() / Math.sqrt(deviations.length);
      for (let i = 0; i < pixels; i++) picture[i]! += weight * deviation[i]!;
    }
  }
  return { ...x, shape: [count, 1, 16, 16], data: made.map((v) => Math.min(1, Math.max(-1, v))) };
}
