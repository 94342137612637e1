/**
 * A network that paints pictures x [batch, 3, height, width] of values in [0, 1] in the style of one picture; and the loss that says how near
 * it came, by which a picture can be painted without the network as well.
 * Gatys, Ecker and Bethge, "A Neural Algorithm of Artistic Style", 2015; Johnson, Alahi and Li, "Perceptual Losses for Real-Time Style Transfer
 * and Super-Resolution", 2016; Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016.
 */

import { F, nn, type Value } from "wasmith";

const conv = (from: number, to: number, kernel: number, stride = 1) =>
  nn.sequential(nn.ReflectionPad2d(Math.floor(kernel / 2)), nn.Conv2d(from, to, kernel, { stride }));

/** What a channel is on the whole, in this picture, makes its contrast: the norm takes it out. */
const normed = (from: number, to: number, kernel: number, stride = 1) =>
  nn.sequential(conv(from, to, kernel, stride), nn.InstanceNorm2d(to, { affine: true }), nn.ReLU());

const residual = (width: number) =>
  nn.Residual(
    nn.sequential(normed(width, width, 3), conv(width, width, 3), nn.InstanceNorm2d(width, { affine: true })),
  );

export interface PainterOptions {
  /** Channels of the whole picture, at half its size, and at a quarter. */
  readonly widths: readonly [number, number, number];
  readonly blocks: number;
  /** Size of the first and the last kernel. */
  readonly kernel: number;
}

const small: PainterOptions = { widths: [8, 16, 32], blocks: 2, kernel: 5 };
/** Johnson's. */
export const published: PainterOptions = { widths: [32, 64, 128], blocks: 5, kernel: 9 };

/** Johnson's network with the norms of Ulyanov, and upsampling before convolutions. */
export function painter({ widths: [fine, half, quarter], blocks, kernel }: PainterOptions = small) {
  return nn.sequential(
    normed(3, fine, kernel),
    normed(fine, half, 3, 2),
    normed(half, quarter, 3, 2),
    ...Array.from({ length: blocks }, () => residual(quarter)),
    nn.Upsample({ scale: 2 }),
    normed(quarter, half, 3),
    nn.Upsample({ scale: 2 }),
    normed(half, fine, 3),
    conv(fine, 3, kernel),
    nn.Sigmoid(),
  );
}

/** A classifier of textures: what its layers see in pictures is what these are compared by. Gatys takes a large one of photographs. */
export class Eye extends nn.Module {
  readonly layers: readonly nn.Layer[];
  readonly head: nn.LinearLayer;

  constructor({ widths = [16, 24, 32], classes = 8 } = {}) {
    super();
    const from = [3, ...widths];
    this.layers = widths.map((to, i) => nn.Conv2d(from[i]!, to, 3, { padding: 1, paddingMode: "reflect" }));
    this.head = nn.Linear(widths.at(-1)!, classes);
  }

  /** Features of each layer, each at half the size of the one before. */
  see(ctx: nn.Context, x: Value): readonly Value[] {
    const seen: Value[] = [];
    let h = x.sub(0.5).mul(2);
    for (const layer of this.layers) {
      // Means pass on more of a gradient than maxima do, as Gatys says.
      if (seen.length > 0) h = F.avgPool2d(h, 2);
      h = F.relu(layer(ctx, h));
      seen.push(h);
    }
    return seen;
  }

  /** Logits of the kinds of textures. */
  forward(ctx: nn.Context, x: Value): Value {
    return this.head(ctx, this.see(ctx, x).at(-1)!.mean([2, 3]));
  }
}

/** Means of features [batch, channels, 1] and their covariances [batch, channels, channels], wherever they are. */
function momentsOf(features: Value) {
  const flat = features.flatten(2);
  const mean = flat.mean(2, true);
  const centred = flat.sub(mean);
  return { mean, covariance: centred.matmul(centred.transpose()).div(F.size(flat, 2).cast("f32")) };
}

/** Squared error as a share of what there is. */
const share = (got: Value, wanted: Value) => got.sub(wanted).square().mean().div(wanted.square().mean());

/** What is bright and what is dark, at a quarter of the size, where strokes cannot be seen: mean 0 and deviation 1. */
const outline = (x: Value) => F.instanceNorm(F.avgPool2d(x.mean(1, true), 4));

/**
 * How far y is from what x shows, in outline, and from how the style is painted: which features occur together in it, in the colours and in all
 * layers. Gatys takes the sums of products for that; without the means, flat colours count less among them.
 */
export function paintingLoss(ctx: nn.Context, eye: Eye, { y, x, style }: { y: Value; x: Value; style: Value }) {
  const content = share(outline(y), outline(x));
  const seenStyle = [style, ...eye.see(ctx, style)];
  const styles = [y, ...eye.see(ctx, y)].map((features, i) => {
    const [got, wanted] = [momentsOf(features), momentsOf(seenStyle[i]!)];
    return share(got.covariance, wanted.covariance).add(share(got.mean, wanted.mean));
  });
  return { content, style: F.stack(styles).mean() };
}

/** How much pixels differ from those beside and below them. */
export function variation(x: Value): Value {
  const across = x
    .slice(3, 1)
    .sub(x.slice(3, 0, -1))
    .abs()
    .mean();
  const down = x
    .slice(2, 1)
    .sub(x.slice(2, 0, -1))
    .abs()
    .mean();
  return across.add(down);
}
