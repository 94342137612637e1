/** What Faster R-CNN learns, both stages at once. */

import { F, type nn, type Value } from "wasmith";
import { matched } from "../detection/boxes.js";
import { countOf, misplaced } from "../detection/loss.js";
import { type FasterRcnn, fine } from "./model.js";

/**
 * Where something is (anchors that hold something and those that do not, half each), how anchors move, what proposals show, and how those
 * move. @param truth [N, M, 5] of corners and class, class −1 where there is none
 */
export function fasterRcnnLoss(ctx: nn.Context, net: FasterRcnn, x: Value, truth: Value): Value {
  const maps = net.backbone(ctx, x);
  const said = net.rpn.head(ctx, maps);
  const anchors = F.cat(net.options().anchors);
  const near = matched(anchors, truth, { above: 0.7, below: 0.3 });
  const logits = F.cat(said.objectness, 1);
  const doubt = F.binaryCrossEntropyWithLogits(logits, near.positive.typeAs(logits), { reduction: "none" });
  const share = (mask: Value) => F.where(mask, doubt, 0).sum().div(countOf(mask));
  const proposing = share(near.positive).add(share(near.negative)).mul(0.5);
  const placing = misplaced(F.cat(said.deltas, 1), anchors, near);

  // True boxes are proposals too, so that there is something to learn from the start.
  const boxes = F.cat([net.propose(ctx, said).boxes, truth.narrow(2, 0, 4)], 1);
  const inside = matched(boxes, truth, { above: 0.5, below: 0.5, orBest: false });
  const { logits: classes, deltas } = net.look(ctx, maps, boxes);
  const label = F.cast(F.where(inside.positive, inside.label.add(1), 0), "i64");
  const naming = F.crossEntropy(classes.flatten(0, 1), label.flatten());
  const own = F.takeAlongDim(deltas, label.unsqueeze(2).unsqueeze(3), 2).squeeze(2);
  return proposing
    .add(placing)
    .add(naming)
    .add(misplaced(own, boxes, inside, { weights: fine, beta: 1 }));
}
