/** Trains a small GoogLeNet on articles of clothing: `wasmith train models/googlenet`. */

import { type Goal, losses, optim, program, schedules } from "wasmith";
import { linear, updatesAnEpoch } from "../data/fashion.js";
import { GoogLeNet } from "./model.js";

export { accuracy as measure, hardest as show, training as dataset, validation } from "../data/fashion.js";
export const fit = { epochs: 8, batchSize: 32 };
export const goal: Goal = { figure: "accuracy", atLeast: 0.85, baseline: linear };

const net = new GoogLeNet({ width: 1 / 8, small: true, classes: 10, inputs: 1 });
const pictures = { x: ["batch", 1, 28, 28] } as const;
const labelled = { ...pictures, y: { dtype: "i64", shape: ["batch"] } } as const;
const loss = losses.crossEntropy();
const adam = optim.Adam();
const schedule = schedules.warmupCosine(2e-3, 50, fit.epochs * updatesAnEpoch(fit.batchSize));

export default program(
  { net },
  {
    step: {
      inputs: labelled,
      run(ctx, { x, y }) {
        const { logits, aux1, aux2 } = net.all(ctx, x);
        const onTheWay = loss(aux1, y).add(loss(aux2, y)).mul(0.3);
        return { loss: ctx.minimize(loss(logits, y).add(onTheWay), net, adam, { schedule }) };
      },
    },
    evaluate: {
      inputs: labelled,
      training: false,
      run(ctx, { x, y }) {
        return { loss: loss(net(ctx, x), y) };
      },
    },
    predict: { inputs: pictures, training: false, run: (ctx, { x }) => ({ output: net(ctx, x) }) },
  },
);
