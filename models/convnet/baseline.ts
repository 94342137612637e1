/** Softmax regression on the pixels of the same pictures, unmoved: `npx tsx models/convnet/baseline.ts`. */

import { compile, losses, metrics, nn, optim, trainStep } from "wasmith";
import { augment } from "wasmith/data";
import { load } from "wasmith/runtime";
import { digits } from "../data/digits.js";
import { margin, scale, validation } from "./train.js";

const program = trainStep(nn.sequential(nn.Flatten(), nn.Linear(32 * 32, 10)), {
  inputs: { x: ["batch", 1, 32, 32] },
  targets: { y: { dtype: "i64", shape: ["batch"] } },
  loss: losses.crossEntropy(),
  optimizer: optim.Adam({ lr: 1e-3 }),
  metrics: { accuracy: metrics.accuracy() },
});
const session = await load(await compile(program, { variants: ["simd128"] }), { threads: 1 });
const pictures = (await digits("train", { margin })).shuffle({ seed: 1 }).map(augment("x", [scale]));
const history = await session.fit(pictures, {
  epochs: 10,
  batchSize: 50,
  validation: await validation(),
  progress: false,
});
console.log(history.at(-1)!.validation!.metrics);
session.dispose();
