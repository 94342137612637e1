/** Finds handwritten digits in scenes with a pyramid of maps and the focal loss: `wasmith train models/retinanet`. */

import { F, type Goal, optim, program, schedules } from "wasmith";
import { anchorGrid } from "../detection/boxes.js";
import { components, side, updatesAnEpoch } from "../detection/digits.js";
import { RetinaNet } from "./model.js";

export { dataset, measure, show } from "../detection/digits.js";
export const fit = { epochs: 8, batchSize: 32 };
/** At most half of what the baseline misses is missed. */
export const goal: Goal = { figure: "mAP", atLeast: 0.74, baseline: components };

/** Widths and heights of anchors: small digits are found in the fine map, large ones in the coarse map. */
const shapes = { fine: [[6, 13] as const, [11, 13] as const], coarse: [[8, 18] as const, [16, 18] as const] };
const anchors = F.cat([
  anchorGrid([side / 4, side / 4], 4, shapes.fine, 0.5),
  anchorGrid([side / 8, side / 8], 8, shapes.coarse, 0.5),
]);
const retinanet = new RetinaNet({ anchors, shapes: 2, classes: 10 });
const adam = optim.Adam();
const schedule = schedules.warmupCosine(2e-3, 50, fit.epochs * updatesAnEpoch(fit.batchSize));

export default program(
  { retinanet },
  {
    step: {
      inputs: { x: ["batch", 1, side, side], boxes: ["batch", 3, 5] },
      run(ctx, { x, boxes }) {
        return {
          loss: ctx.minimize(retinanet.loss(ctx, x, boxes), retinanet, adam, { schedule, clip: optim.clipNorm(10) }),
        };
      },
    },
    predict: {
      inputs: { x: ["batch", 1, side, side] },
      training: false,
      run: (ctx, { x }) => ({ found: retinanet.detect(ctx, x) }),
    },
  },
);
