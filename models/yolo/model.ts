/**
 * You only look once: pictures x [batch, channels, S·stride, S·stride] → at each of S·S cells a few boxes, how sure each is, and one class.
 * Redmon, Divvala, Girshick and Farhadi, "You only look once: unified, real-time object detection", 2016.
 */

import { F, nn, type Value } from "wasmith";
import { centred, cornered, detections, overlaps } from "../detection/boxes.js";

export interface YoloOptions {
  readonly classes?: number;
  /** Boxes of each cell, B. */
  readonly boxes?: number;
  readonly channels?: number;
  readonly widths?: readonly [number, number, number, number];
}

/** What each cell says; cells row by row. */
export interface Said {
  /** Centre within the cell and roots of the size as a share of the picture, all in [0, 1]: [batch, S·S, B, 4]. */
  readonly places: Value;
  /** The same as corners in pixels: [batch, S·S, B, 4]. */
  readonly corners: Value;
  /** How much a box is expected to overlap a true one: [batch, S·S, B]. */
  readonly confidence: Value;
  /** Logits [batch, S·S, C]. */
  readonly classes: Value;
}

const stride = 8;

const conv = (from: number, to: number, step: number) =>
  nn.sequential(
    nn.Conv2d(from, to, 3, { stride: step, padding: 1, bias: false }),
    nn.BatchNorm2d(to),
    nn.LeakyReLU(0.1),
  );

export class Yolo extends nn.Module<readonly [x: Value], Said> {
  readonly body: nn.Layer;
  readonly head: nn.Layer;
  readonly boxes: number;

  constructor({ classes = 10, boxes = 2, channels = 1, widths = [16, 32, 64, 96] }: YoloOptions = {}) {
    super();
    const [a, b, c, d] = widths;
    this.boxes = boxes;
    this.body = nn.sequential(conv(channels, a, 2), conv(a, b, 2), conv(b, c, 1), conv(c, d, 2), conv(d, d, 1));
    this.head = nn.Conv2d(d, 5 * boxes + classes, 1);
  }

  forward(ctx: nn.Context, x: Value): Said {
    const grid = this.head(ctx, this.body(ctx, x));
    const [, outputs, height, width] = grid.type.shape as [unknown, number, number, number];
    const cells = grid.permute(0, 2, 3, 1).reshape(-1, height * width, outputs);
    const own = F.sigmoid(cells.narrow(2, 0, 5 * this.boxes)).unflatten(2, [this.boxes, 5]);
    const places = own.narrow(3, 0, 4);
    const centre = places.narrow(3, 0, 2).add(corner(height, width)).mul(stride);
    const size = places
      .narrow(3, 2, 2)
      .square()
      .mul(F.constant([width * stride, height * stride]));
    return {
      places,
      corners: cornered(centre, size),
      confidence: own.select(3, 4),
      classes: cells.narrow(2, 5 * this.boxes, outputs - 5 * this.boxes),
    };
  }

  /** What is found: [batch, 20, 6] of corners, score and class. A score is a box's confidence times the probability of the class. */
  detect(ctx: nn.Context, x: Value): Value {
    const { corners, confidence, classes } = this.forward(ctx, x);
    const scores = confidence.unsqueeze(3).mul(F.softmax(classes, 2).unsqueeze(2));
    return detections(ctx, corners.flatten(1, 2), scores.flatten(1, 2).transpose(1, 2));
  }
}

/** Column and row of each cell: [S·S, 1, 2]. */
function corner(height: number, width: number): Value {
  const places = Array.from({ length: height * width }, (_, i) => [[i % width, Math.floor(i / width)]]);
  return F.constant(places);
}

/**
 * The paper's loss, but for the classes' cross-entropy in the place of squared errors, for a picture. Of the boxes of the cell that holds the
 * centre of a true box, the one that overlaps it most answers for it. @param truth [batch, M, 5] of corners and class, −1: none
 */
export function yoloLoss({ places, corners, confidence, classes }: Said, truth: Value, side: number): Value {
  const cells = side / stride;
  const [centre, size] = centred(truth.narrow(2, 0, 4));
  const at = F.floor(centre.div(stride));
  const cellOf = at.select(2, 1).mul(cells).add(at.select(2, 0));
  // Where there is no box the cell's index is none.
  const cell = F.where(truth.select(2, 4).ge(0), cellOf, -1);
  const inside = F.arange(cells * cells)
    .typeAs(cell)
    .unsqueeze(1)
    .eq(cell.unsqueeze(1));
  const has = inside.any([2]).typeAs(cell);
  const which = F.argMax(inside.typeAs(cell), 2).unsqueeze(2);
  const place = F.cat([centre.div(stride).sub(at), F.sqrt(size.div(side).clamp(0))], 2);
  const own = (values: Value) => F.takeAlongDim(values, which, 1);

  const shares = F.stopGradient(overlaps(corners, own(truth.narrow(2, 0, 4)).unsqueeze(2)).squeeze(3));
  const answers = F.oneHot(F.argMax(shares, 2), places.type.shape[2] as number).mul(has.unsqueeze(2));
  const misplaced = places.sub(own(place).unsqueeze(2)).square().sum([3]).mul(answers).mul(5);
  const sure = F.where(answers.gt(0), confidence.sub(shares).square(), confidence.square().mul(0.5));
  const label = F.cast(own(truth.narrow(2, 4, 1)).clamp(0), "i64").squeeze(2);
  const confused = F.crossEntropy(classes.transpose(1, 2), label, { reduction: "none" }).mul(has);
  return misplaced
    .add(sure)
    .sum([1, 2])
    .add(confused.sum([1]))
    .mean();
}
