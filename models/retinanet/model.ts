/**
 * RetinaNet: x [batch, channels, H, W] → for each anchor of a pyramid of maps logits of the classes and deltas of its box. One stage alone:
 * that almost all anchors hold nothing is what the focal loss is for.
 * Lin, Goyal, Girshick, He and Dollár, "Focal loss for dense object detection", 2017.
 */

import { F, losses, nn, type Value } from "wasmith";
import { detections, matched, moved } from "../detection/boxes.js";
import { countOf, misplaced } from "../detection/loss.js";
import { Pyramid } from "../detection/pyramid.js";

const conv = (from: number, to: number, stride = 1) =>
  nn.sequential(nn.Conv2d(from, to, 3, { stride, padding: 1, bias: false }), nn.BatchNorm2d(to), nn.ReLU());

/** Maps of strides 4 and 8. */
class Trunk extends nn.Module<readonly [x: Value], readonly Value[]> {
  readonly fine: nn.Layer;
  readonly coarse: nn.Layer;

  constructor(channels: number, [a, b, c, d]: readonly [number, number, number, number]) {
    super();
    this.fine = nn.sequential(conv(channels, a, 2), conv(a, b, 2), conv(b, c));
    this.coarse = nn.sequential(conv(c, d, 2), conv(d, d));
  }

  forward(ctx: nn.Context, x: Value): readonly Value[] {
    const fine = this.fine(ctx, x);
    return [fine, this.coarse(ctx, fine)];
  }
}

const small = nn.init.normal(0, 0.01);

/** The same few convolutions over all maps: what the anchors of each place show, or how they move. */
class Subnet extends nn.Module<readonly [map: Value]> {
  readonly body: nn.Layer;
  readonly out: nn.Layer;
  readonly each: number;

  /** @param each numbers for an anchor @param bias which they begin with */
  constructor(channels: number, depth: number, shapes: number, each: number, bias = 0) {
    super();
    const layer = () => nn.sequential(nn.Conv2d(channels, channels, 3, { padding: 1 }), nn.ReLU());
    this.body = nn.sequential(...Array.from({ length: depth }, layer));
    this.out = nn.Conv2d(channels, shapes * each, 3, {
      padding: 1,
      weightInit: small,
      biasInit: nn.init.constant(bias),
    });
    this.each = each;
  }

  /** [N, C, H, W] → [N, anchors of the map, each], place by place. */
  forward(ctx: nn.Context, map: Value): Value {
    const said = this.out(ctx, this.body(ctx, map));
    const [, outputs, height, width] = said.type.shape as number[];
    return said.permute(0, 2, 3, 1).reshape(-1, (height! * width! * outputs!) / this.each, this.each);
  }
}

export interface RetinaNetOptions {
  /** All anchors, map by map, [anchors, 4]. */
  readonly anchors: Value;
  /** Anchors at each place. */
  readonly shapes: number;
  readonly classes: number;
  /** Channels of pictures. */
  readonly channels?: number;
  readonly widths?: readonly [number, number, number, number];
  /** Channels of the pyramid, and convolutions in front of what is said. */
  readonly pyramid?: number;
  readonly depth?: number;
}

/** What is said of each anchor. */
export interface Said {
  /** [N, anchors, classes] */
  readonly logits: Value;
  /** [N, anchors, 4] */
  readonly deltas: Value;
}

/** What all anchors hold something with, before anything is learnt: the many that hold nothing would swamp the loss otherwise. */
const prior = 0.01;

export class RetinaNet extends nn.Module<readonly [x: Value], Said> {
  readonly backbone: Trunk;
  readonly fpn: Pyramid;
  readonly classification: Subnet;
  readonly regression: Subnet;
  readonly anchors: () => Value;

  constructor({
    anchors,
    shapes,
    classes,
    channels = 1,
    widths = [16, 32, 48, 64],
    pyramid = 32,
    depth = 2,
  }: RetinaNetOptions) {
    super();
    this.backbone = new Trunk(channels, widths);
    this.fpn = new Pyramid([widths[2], widths[3]], pyramid);
    this.classification = new Subnet(pyramid, depth, shapes, classes, -Math.log((1 - prior) / prior));
    this.regression = new Subnet(pyramid, depth, shapes, 4);
    // A function hides the constant from the search for weights.
    this.anchors = () => anchors;
  }

  forward(ctx: nn.Context, x: Value): Said {
    const maps = this.fpn(ctx, this.backbone(ctx, x));
    const all = (subnet: Subnet) =>
      F.cat(
        maps.map((map) => subnet(ctx, map)),
        1,
      );
    return { logits: all(this.classification), deltas: all(this.regression) };
  }

  /** What is found: [batch, 20, 6] of corners, score and class. */
  detect(ctx: nn.Context, x: Value): Value {
    const { logits, deltas } = this.forward(ctx, x);
    return detections(ctx, moved(deltas, this.anchors()), F.sigmoid(logits).transpose(1, 2));
  }

  /** The focal loss of all anchors but those between, and how far boxes are off, for a box to find. @param truth [batch, M, 5] */
  loss(ctx: nn.Context, x: Value, truth: Value): Value {
    const { logits, deltas } = this.forward(ctx, x);
    const found = matched(this.anchors(), truth, { above: 0.5, below: 0.4 });
    const classes = logits.type.shape[2] as number;
    const own = F.oneHot(F.cast(found.label.clamp(0), "i64"), classes).mul(found.positive.typeAs(logits).unsqueeze(2));
    const focal = losses.focal({ reduction: "none" })(logits, own).sum([2]);
    const naming = F.where(found.positive.logicalOr(found.negative), focal, 0).sum().div(countOf(found.positive));
    return naming.add(misplaced(deltas, this.anchors(), found));
  }
}
