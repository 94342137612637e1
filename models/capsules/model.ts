/**
 * A capsule network: pictures → capsules, vectors whose lengths say which digit is there and whose directions how it looks.
 * Sabour, Frosst and Hinton, "Dynamic routing between capsules", 2017.
 */

import { F, nn, type Value } from "wasmith";

const tiny = 1e-8;

/** Vectors of the same direction and a length below 1, along the last axis. */
function squash(s: Value): Value {
  const square = s.mul(s).sum([-1], true);
  return s.mul(square.div(square.add(1).mul(F.sqrt(square.add(tiny)))));
}

export interface CapsulesOptions {
  readonly classes?: number;
  /** Height and width of a picture. */
  readonly side?: number;
  /** Channels of the convolution in front. */
  readonly channels?: number;
  /** Height and width of both convolutions' windows, and the strides of the two. */
  readonly kernel?: number;
  readonly strides?: readonly [number, number];
  /** Capsules at each place of the first layer, and the numbers of each. */
  readonly types?: number;
  readonly narrow?: number;
  /** Numbers of a capsule of the second layer. */
  readonly length?: number;
  /** Rounds of routing. */
  readonly rounds?: number;
}

/** x [batch, 1, side, side] → capsules [batch, classes, length] */
export class Capsules extends nn.Module {
  readonly conv: nn.Layer;
  readonly primary: nn.Layer;
  /** What each capsule of the first layer says of each of the second: [inputs, classes, length, narrow]. */
  readonly weight: nn.Variable;
  readonly types: number;
  readonly narrow: number;
  readonly rounds: number;

  constructor({
    classes = 10,
    side = 28,
    channels = 256,
    kernel = 9,
    strides = [1, 2],
    types = 32,
    narrow = 8,
    length = 16,
    rounds = 3,
  }: CapsulesOptions = {}) {
    super();
    this.types = types;
    this.narrow = narrow;
    this.rounds = rounds;
    this.conv = nn.Conv2d(1, channels, kernel, { stride: strides[0] });
    this.primary = nn.Conv2d(channels, types * narrow, kernel, { stride: strides[1] });
    const across = strides.reduce((width, stride) => Math.floor((width - kernel) / stride) + 1, side);
    this.weight = nn.parameter([types * across * across, classes, length, narrow], nn.init.normal(0, 0.1));
  }

  forward(ctx: nn.Context, x: Value): Value {
    const maps = this.primary(ctx, this.conv(ctx, x).relu()).flatten(2);
    const inputs = maps.unflatten(1, [this.types, this.narrow]).permute(0, 1, 3, 2).flatten(1, 2);
    return this.route(F.einsum("nid,iokd->niok", squash(inputs), ctx.value(this.weight)));
  }

  /**
   * Routing by agreement: each input [batch, inputs, classes, length] divides itself among the classes, and gives more to those whose
   * sum it agrees with.
   */
  route(said: Value): Value {
    // How the inputs divide themselves is not learnt: gradients flow through the last sum alone.
    const fixed = F.stopGradient(said);
    let agreement = F.zerosLike(fixed.sum([3]));
    for (let round = 1; round < this.rounds; round++) {
      const sum = squash(F.einsum("nio,niok->nok", agreement.softmax(2), fixed));
      agreement = agreement.add(F.einsum("niok,nok->nio", fixed, sum));
    }
    return squash(F.einsum("nio,niok->nok", agreement.softmax(2), said));
  }
}

export interface CapsNetOptions extends CapsulesOptions {
  /** Units of the decoder's hidden layers. */
  readonly hidden?: readonly [number, number];
}

/** Capsules, and a decoder that makes pictures of them. */
export class CapsNet extends nn.Module {
  readonly capsules: Capsules;
  readonly decoder: nn.Layer;

  constructor({ hidden: [first, second] = [512, 1024], ...options }: CapsNetOptions = {}) {
    super();
    const { classes = 10, length = 16, side = 28 } = options;
    this.capsules = new Capsules(options);
    this.decoder = nn.sequential(
      nn.Linear(classes * length, first),
      nn.ReLU(),
      nn.Linear(first, second),
      nn.ReLU(),
      nn.Linear(second, side * side),
      nn.Sigmoid(),
    );
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.capsules(ctx, x);
  }

  /** Pictures [batch, pixels] of the capsules of the classes y; all others are set to 0. */
  decode(ctx: nn.Context, capsules: Value, y: Value): Value {
    const kept = capsules.mul(F.oneHot(y, capsules.type.shape[1] as number).unsqueeze(2));
    return this.decoder(ctx, kept.flatten(1));
  }
}

export const lengths = (capsules: Value): Value => F.sqrt(capsules.mul(capsules).sum([2]).add(tiny));

/** Each class for itself: the right one's capsule longer than 0.9, the others' shorter than 0.1. */
export function marginLoss(capsules: Value, y: Value): Value {
  const length = lengths(capsules);
  const right = F.oneHot(y, length.type.shape[1] as number);
  const short = length.neg().add(0.9).relu();
  const long = length.sub(0.1).relu();
  const loss = right.mul(short.mul(short)).add(right.neg().add(1).mul(long.mul(long)).mul(0.5));
  return loss.sum([1]).mean();
}
