/**
 * Faster R-CNN: x [batch, channels, H, W] → what is found, [batch, most, 6] of (x1, y1, x2, y2, score, class), score 0 where there are no
 * more. Maps of a trunk tell where something may be (proposals); what the maps hold there tells what it is. torchvision's layers and names.
 * Ren, He, Girshick and Sun, "Faster R-CNN: towards real-time object detection with region proposal networks", 2015.
 */

import { F, nn, type Value } from "wasmith";
import { type DeltaWeights, detections, moved } from "../detection/boxes.js";
import { BoxHead, Predictor, RpnHead } from "./heads.js";
import { pooled } from "./pooled.js";

export type Trunk = nn.Module<readonly [x: Value], readonly Value[]>;

/** Deltas of the second stage are small: it moves proposals, not anchors. */
export const fine: DeltaWeights = [10, 5];

export interface FasterRcnnOptions {
  readonly backbone: Trunk;
  /** Channels of its maps. */
  readonly channels: number;
  /** Anchors of each map, [places · shapes, 4]. */
  readonly anchors: readonly Value[];
  /** Anchors at each place. */
  readonly shapes: number;
  /** Pixels of the picture for one of each map that is looked into; further maps are for proposals alone. */
  readonly strides: readonly number[];
  readonly side: readonly [height: number, width: number];
  /** With the background. */
  readonly classes: number;
  /** Width of the layers that look into proposals. */
  readonly width?: number;
  /** Places along each axis of a proposal that are looked at. */
  readonly size?: number;
  /** How many anchors of each map are looked at, and how many proposals come of them. */
  readonly proposals?: { readonly candidates: number; readonly most: number };
  /** Boxes found in a picture at most, and from which score on. */
  readonly most?: number;
  readonly score?: number;
}

export class FasterRcnn extends nn.Module {
  readonly backbone: Trunk;
  readonly rpn: { readonly head: RpnHead };
  readonly roi_heads: { readonly box_head: BoxHead; readonly box_predictor: Predictor };
  /** A function hides it from the search for weights: anchors are constants. */
  readonly options: () => Required<FasterRcnnOptions>;

  constructor(given: FasterRcnnOptions) {
    super();
    const options = {
      width: 1024,
      size: 7,
      proposals: { candidates: 1000, most: 1000 },
      most: 100,
      score: 0.05,
      ...given,
    };
    const { backbone, channels, shapes, width, size, classes } = options;
    this.backbone = backbone;
    this.rpn = { head: new RpnHead(channels, shapes) };
    this.roi_heads = {
      box_head: new BoxHead(channels * size * size, width),
      box_predictor: new Predictor(width, classes),
    };
    this.options = () => options;
  }

  /** Boxes [..., 4] within the picture. */
  clipped(boxes: Value): Value {
    const [height, width] = this.options().side;
    return F.minimum(boxes.clamp(0), F.constant([width, height, width, height]));
  }

  /** The best proposals [N, most, 4], none of which overlaps a better one of the same map by 0.7, and which of them are any. */
  propose(ctx: nn.Context, { objectness, deltas }: { objectness: Value[]; deltas: Value[] }) {
    const { anchors, proposals } = this.options();
    const best = objectness.map((logits, level) => {
      const [top, index] = F.topK(logits, Math.min(proposals.candidates, logits.type.shape[1] as number), 1);
      const own = F.takeAlongDim(deltas[level]!, index.unsqueeze(2), 1);
      return { score: F.sigmoid(top), boxes: this.clipped(moved(own, anchors[level]!.indexSelect(0, index))) };
    });
    const all = (values: readonly Value[]) => F.cat(values, 1);
    const boxes = all(best.map((b) => b.boxes));
    // Maps do not suppress one another's boxes: each counts as a class.
    const scores = best.map((b) => all(best.map((o) => (o === b ? b.score : F.zerosLike(o.score)))));
    const rows = detections(ctx, boxes, F.stack(scores, 1), { iou: 0.7, score: 0, most: proposals.most });
    return { boxes: F.stopGradient(rows.narrow(2, 0, 4)), alive: rows.select(2, 4).gt(0) };
  }

  /** Logits [N, R, classes] and deltas [N, R, classes, 4] of proposals [N, R, 4]. */
  look(ctx: nn.Context, maps: readonly Value[], boxes: Value) {
    const { strides, size } = this.options();
    const count = boxes.type.shape[1] as number;
    const inside = pooled(ctx, maps.slice(0, strides.length), boxes, { strides, size });
    const { logits, deltas } = this.roi_heads.box_predictor(ctx, this.roi_heads.box_head(ctx, inside));
    return { logits: logits.unflatten(0, [-1, count]), deltas: deltas.unflatten(0, [-1, count]) };
  }

  forward(ctx: nn.Context, x: Value): Value {
    const maps = this.backbone(ctx, x);
    const { boxes, alive } = this.propose(ctx, this.rpn.head(ctx, maps));
    const { logits, deltas } = this.look(ctx, maps, boxes);
    const { classes, most, score } = this.options();
    const known = classes - 1;
    const own = this.clipped(moved(deltas, boxes.unsqueeze(2), fine)).narrow(2, 1, known);
    const scores = F.softmax(logits, 2).mul(alive.typeAs(logits).unsqueeze(2)).narrow(2, 1, known);
    return detections(ctx, own.transpose(1, 2), scores.transpose(1, 2), { most, score });
  }
}
