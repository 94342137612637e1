/**
 * Inception-v3: x [batch, 3, 299, 299] → logits [batch, 1000], with torchvision's layers and names.
 * Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for computer vision", 2016.
 */

import { nn, type Value } from "wasmith";
import {
  type Channels,
  conv,
  factorised7,
  type Layers,
  reduction3,
  reduction7,
  run,
  same,
  shrink,
  small3,
  wide,
} from "./blocks.js";

/** Channels that the blocks of the first two stages narrow to, or pool into; they are one block each. */
const pooled = [32, 64, 64];
const narrow = [128, 160, 160, 192];

/** A classifier on the way. */
class InceptionAux extends nn.Module {
  readonly pool: nn.Layer;
  readonly conv0: nn.Layer;
  readonly conv1: nn.Layer;
  readonly fc: nn.Layer;

  constructor(c: Channels, from: number, classes: number, small: boolean) {
    super();
    // 17×17 to the 5×5 that the convolution sees; small maps are left as they are.
    this.pool = small ? nn.Identity() : nn.AvgPool2d(5, { stride: 3 });
    this.conv0 = conv(from, c(128), 1);
    this.conv1 = conv(c(128), c(768), 5);
    this.fc = nn.Linear(c(768), classes);
  }

  forward(ctx: nn.Context, x: Value): Value {
    const h = this.conv1(ctx, this.conv0(ctx, this.pool(ctx, x)));
    return this.fc(ctx, h.mean([2, 3]));
  }
}

export interface InceptionOptions {
  readonly classes?: number;
  /** Channels of pictures. */
  readonly inputs?: number;
  /** All channels are this times those of the paper. */
  readonly width?: number;
  /** Blocks of the three stages that keep the size of maps: at most 3, 4 and 2, as in the paper. */
  readonly depths?: readonly [number, number, number];
  /** The classifier on the way, which gives the lower layers gradients while training. */
  readonly aux?: boolean;
  /** Probability with which a feature of the last layer is dropped. */
  readonly dropout?: number;
  /** For pictures of about 28×28: a first convolution without a stride, one pool in place of two, and maps padded to keep their size. */
  readonly small?: boolean;
}

/** Blocks one after the other, with torchvision's names. */
const mixed = (stage: number, blocks: readonly nn.Layer[]): Layers =>
  Object.fromEntries(blocks.map((block, i) => [`Mixed_${stage}${"bcde"[i]}`, block]));

export class InceptionV3 extends nn.Module {
  readonly #lower: Layers;
  readonly #aux: InceptionAux | undefined;
  readonly #upper: Layers;
  readonly #dropout: nn.Layer;
  readonly #fc: nn.Layer;

  constructor({
    classes = 1000,
    inputs = 3,
    width = 1,
    depths = [3, 4, 2],
    aux = true,
    dropout = 0.5,
    small = false,
  }: InceptionOptions = {}) {
    super();
    const c = (published: number) => Math.round(published * width);
    const a = (block: number) => (block < 0 ? c(192) : c(64) + c(64) + c(96) + c(pooled[block]!));
    const last = a(depths[0] - 1);
    const d = 4 * c(192);
    const top = c(320) + 4 * c(384) + c(192);
    this.#lower = {
      Conv2d_1a_3x3: small ? same(inputs, c(32), 3) : conv(inputs, c(32), 3, 2),
      Conv2d_2a_3x3: small ? same(c(32), c(32), 3) : conv(c(32), c(32), 3),
      Conv2d_2b_3x3: same(c(32), c(64), 3),
      maxpool1: shrink(),
      Conv2d_3b_1x1: conv(c(64), c(80), 1),
      Conv2d_4a_3x3: small ? same(c(80), c(192), 3) : conv(c(80), c(192), 3),
      maxpool2: small ? nn.Identity() : shrink(),
      ...mixed(
        5,
        pooled.slice(0, depths[0]).map((to, i) => small3(c, a(i - 1), to)),
      ),
      Mixed_6a: reduction3(c, last),
      ...mixed(
        6,
        narrow.slice(0, depths[1]).map((to, i) => factorised7(c, i > 0 ? d : c(384) + c(96) + last, to)),
      ),
    };
    this.#aux = aux ? new InceptionAux(c, d, classes, small) : undefined;
    this.#upper = {
      Mixed_7a: reduction7(c, d),
      ...mixed(
        7,
        [c(320) + c(192) + d, top].slice(0, depths[2]).map((from) => wide(c, from)),
      ),
    };
    this.#dropout = nn.Dropout(dropout);
    this.#fc = nn.Linear(top, classes);
  }

  protected override members() {
    const aux = this.#aux ? { AuxLogits: this.#aux } : {};
    return Object.entries({ ...this.#lower, ...aux, ...this.#upper, dropout: this.#dropout, fc: this.#fc });
  }

  /** The logits, and those of the classifier on the way. */
  all(ctx: nn.Context, x: Value): { logits: Value; aux: readonly Value[] } {
    const middle = run(ctx, x, this.#lower);
    const pooled = run(ctx, middle, this.#upper).mean([2, 3]);
    const logits = this.#fc(ctx, this.#dropout(ctx, pooled));
    return { logits, aux: this.#aux ? [this.#aux(ctx, middle)] : [] };
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.all(ctx, x).logits;
  }
}
