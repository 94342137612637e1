/** Finds handwritten digits in scenes in two stages, learnt together: `wasmith train models/faster-rcnn`. */

import { type Goal, nn, optim, program, schedules, type Value } from "wasmith";
import { anchorGrid } from "../detection/boxes.js";
import { components, side, updatesAnEpoch } from "../detection/digits.js";
import { fasterRcnnLoss } from "./loss.js";
import { FasterRcnn } from "./model.js";

export { dataset, measure, show } from "../detection/digits.js";
export const fit = { epochs: 4, batchSize: 16 };
/** At most half of what the baseline misses is missed. */
export const goal: Goal = { figure: "mAP", atLeast: 0.74, baseline: components };

const conv = (from: number, to: number, stride = 1) =>
  nn.sequential(nn.Conv2d(from, to, 3, { stride, padding: 1, bias: false }), nn.BatchNorm2d(to), nn.ReLU());

const channels = 48;

/** One map, of stride 4. */
class Trunk extends nn.Module<readonly [x: Value], readonly Value[]> {
  readonly body = nn.sequential(conv(1, 16, 2), conv(16, 32, 2), conv(32, channels), conv(channels, channels));

  forward(ctx: nn.Context, x: Value): readonly Value[] {
    return [this.body(ctx, x)];
  }
}

/** Widths and heights of anchors at each place. */
const shapes = [[6, 14] as const, [11, 14] as const, [15, 18] as const];
const detector = new FasterRcnn({
  backbone: new Trunk(),
  channels,
  anchors: [anchorGrid([side / 4, side / 4], 4, shapes, 0.5)],
  shapes: shapes.length,
  strides: [4],
  side: [side, side],
  classes: 11,
  width: 128,
  size: 5,
  proposals: { candidates: 100, most: 24 },
  most: 20,
});
const adam = optim.Adam();
const schedule = schedules.warmupCosine(2e-3, 50, fit.epochs * updatesAnEpoch(fit.batchSize));

export default program(
  { detector },
  {
    step: {
      inputs: { x: ["batch", 1, side, side], boxes: ["batch", 3, 5] },
      run(ctx, { x, boxes }) {
        const loss = fasterRcnnLoss(ctx, detector, x, boxes);
        return { loss: ctx.minimize(loss, detector, adam, { schedule, clip: optim.clipNorm(10) }) };
      },
    },
    predict: {
      inputs: { x: ["batch", 1, side, side] },
      training: false,
      run: (ctx, { x }) => ({ found: detector(ctx, x) }),
    },
  },
);
