/** Trains the ConvNet on handwritten digits: `wasmith train models/convnet`. */

import { losses, metrics, optim, schedules, trainStep } from "wasmith";
import { augment, dataset, normalize, readIdx, rotate, shift } from "wasmith/data";
import { convNet } from "./model.js";

/** Pictures 28×28 in the middle of 32×32, with mean 0 and deviation 1 over all pixels. */
async function digits(part: "train" | "test") {
  const read = (name: string) => readIdx(new URL(`./data/${part}-${name}.gz`, import.meta.url));
  const [images, y] = await Promise.all([read("images.idx3"), read("labels.idx1")]);
  const count = images.shape[0]!;
  const data = new Uint8Array(count * 32 * 32);
  for (let row = 0; row < count * 28; row++) {
    const at = Math.floor(row / 28) * 32 * 32 + ((row % 28) + 2) * 32 + 2;
    data.set(images.data.subarray(row * 28, row * 28 + 28) as Uint8Array, at);
  }
  return dataset({ x: { dtype: "u8", shape: [count, 1, 32, 32], data }, y });
}

const scale = normalize({ mean: 0.1307, std: 0.3081 });
const moved = augment("x", [shift({ x: 2, y: 2 }), rotate(15), scale]);

export const fit = { epochs: 40, batchSize: 32 };
export const training = async () => (await digits("train")).shuffle({ seed: 1 }).map(moved, { seed: 1 });
export const validation = async () => (await digits("test")).map(augment("x", [scale]));
export { training as dataset };

/** Updates in all epochs: 10,000 pictures. */
const updates = fit.epochs * Math.ceil(10_000 / fit.batchSize);

export default trainStep(convNet(), {
  inputs: { x: ["batch", 1, 32, 32] },
  targets: { y: { dtype: "i64", shape: ["batch"] } },
  loss: losses.crossEntropy({ labelSmoothing: 0.1 }),
  optimizer: optim.SGD({ momentum: 0.9, weightDecay: 1e-4 }),
  schedule: schedules.warmupCosine(0.04, 200, updates),
  metrics: { accuracy: metrics.accuracy() },
});
