/**
 * Diffusion: a net learns to take noise out of pictures; sampling begins with noise alone and takes it away step by step.
 * Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models", 2020; Song, Meng and Ermon, "Denoising Diffusion Implicit Models", 2021.
 */

import { F, type nn, type Value } from "wasmith";
import type { UNet } from "./model.js";

/** How much of a picture's variance is left after each step, the rest being noise: Nichol and Dhariwal's cosine, 2021. */
export function cosineSchedule(steps: number): readonly number[] {
  const cosine = (t: number) => Math.cos(((t / steps + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
  let left = 1;
  // A step leaves a thousandth at least, as the paper says.
  return Array.from({ length: steps }, (_, t) => (left *= Math.max(0.001, cosine(t + 1) / cosine(t))));
}

export interface Sampling {
  /** Steps to take, evenly among the schedule's. */
  readonly count: number;
  /** Share of the noise that is drawn anew in each step: 0 is DDIM, 1 with all steps is DDPM. Default: 0. */
  readonly fresh?: number;
}

/** What is learnt and drawn with a net, under a schedule of noise. */
export class Diffusion {
  private readonly net: UNet;
  private readonly kept: readonly number[];

  /** @param kept share of a picture's variance that is left after each step */
  constructor(net: UNet, kept: readonly number[]) {
    this.net = net;
    this.kept = kept;
  }

  /**
   * Mean squared error of the velocity signal·ε − noise·x, which tells picture x and noise ε equally well however much there is of either
   * (Salimans and Ho, 2022), at random steps.
   */
  loss(ctx: nn.Context, x: Value, y: Value): Value {
    const t = F.randint(ctx, 0, this.kept.length, y.type.shape);
    const { signal, noise } = this.mixture(t);
    const drawn = F.randnLike(ctx, x);
    const seen = this.net(ctx, signal.mul(x).add(noise.mul(drawn)), t, y);
    return F.mseLoss(seen, signal.mul(drawn).sub(noise.mul(x)));
  }

  /** What there is in pictures x [batch, 1, side, side] of classes y [batch] after steps t [batch]: the picture alone, and the noise alone. */
  separate(ctx: nn.Context, x: Value, t: Value, y: Value) {
    const velocity = this.net(ctx, x, t, y);
    const { signal, noise } = this.mixture(t);
    const clean = F.clamp(signal.mul(x).sub(noise.mul(velocity)), -1, 1);
    return { clean, noise: x.sub(signal.mul(clean)).div(noise) };
  }

  /** Pictures of classes y out of noise x, and what they look like on the way, [count, …x], the last first. */
  sample(ctx: nn.Context, x: Value, y: Value, { count, fresh = 0 }: Sampling) {
    const times = Array.from({ length: count }, (_, i) => Math.round(((i + 1) * this.kept.length) / count) - 1);
    const before = times.map((t) => this.kept[t]!);
    const after = [1, ...before.slice(0, -1)];
    const drawn = after.map(
      (share, i) => fresh * Math.sqrt(((1 - share) / (1 - before[i]!)) * (1 - before[i]! / share)),
    );
    const rows = {
      t: F.constant(times, "i64"),
      signal: F.constant(after.map(Math.sqrt)),
      noise: F.constant(after.map((share, i) => Math.sqrt(1 - share - drawn[i]! ** 2))),
      drawn: F.constant(drawn),
    };
    const [picture, way] = F.scan(
      (x: Value, { t, signal, noise, drawn }: typeof rows) => {
        const seen = this.separate(ctx, x, t.expand(x.type.shape[0]!), y);
        const less = seen.clean.mul(signal).add(seen.noise.mul(noise));
        const next = fresh === 0 ? less : less.add(F.randnLike(ctx, x).mul(drawn));
        return [next, next];
      },
      x,
      rows,
      { reverse: true },
    );
    return { picture, way };
  }

  /** Factors [batch, 1, 1, 1] of picture and noise after steps t [batch], whose squares sum to 1. */
  private mixture(t: Value) {
    const share = F.constant(this.kept).indexSelect(0, t).unsqueeze(1, 2, 3);
    return { signal: F.sqrt(share), noise: F.sqrt(share.rsub(1)) };
  }
}
