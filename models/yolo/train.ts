/** Finds handwritten digits in scenes by looking once: `wasmith train models/yolo`. */

import { type Goal, optim, program, schedules } from "wasmith";
import { components, side, updatesAnEpoch } from "../detection/digits.js";
import { Yolo, yoloLoss } from "./model.js";

export { dataset, measure, show } from "../detection/digits.js";
export const fit = { epochs: 12, batchSize: 32 };
/** At most half of what the baseline misses is missed. */
export const goal: Goal = { figure: "mAP", atLeast: 0.74, baseline: components };

const yolo = new Yolo();
const adam = optim.Adam();
const schedule = schedules.warmupCosine(3e-3, 50, fit.epochs * updatesAnEpoch(fit.batchSize));

export default program(
  { yolo },
  {
    step: {
      inputs: { x: ["batch", 1, side, side], boxes: ["batch", 3, 5] },
      run(ctx, { x, boxes }) {
        return { loss: ctx.minimize(yoloLoss(yolo(ctx, x), boxes, side), yolo, adam, { schedule }) };
      },
    },
    predict: {
      inputs: { x: ["batch", 1, side, side] },
      training: false,
      run: (ctx, { x }) => ({ found: yolo.detect(ctx, x) }),
    },
  },
);
