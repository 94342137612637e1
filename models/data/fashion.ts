/** Articles of clothing, 10,000 to learn from and 2,000 to be measured on; see fashion/README.md. */

import { losses, metrics, type nn, optim, schedules, trainStep } from "wasmith";
import { augment, dataset, normalize, readIdx } from "wasmith/data";
import type { TrainingSession } from "wasmith/runtime";
import { grid } from "../pictures.js";
import { argMax } from "../values.js";

export const articles = [
  "T-shirt",
  "trouser",
  "pullover",
  "dress",
  "coat",
  "sandal",
  "shirt",
  "sneaker",
  "bag",
  "ankle boot",
] as const;

const read = (part: "train" | "test", what: string) =>
  readIdx(new URL(`./fashion/${part}-${what}.gz`, import.meta.url));

/** Pictures `x` [1, 28, 28] in u8 and articles `y`. */
export async function fashion(part: "train" | "test") {
  const [{ shape, data }, y] = await Promise.all([read(part, "images.idx3"), read(part, "labels.idx1")]);
  return dataset({ x: { dtype: "u8", shape: [shape[0]!, 1, 28, 28], data: data as Uint8Array }, y });
}

const [mean, std] = [0.286, 0.331];
/** Mean 0 and deviation 1 over all pixels. */
const scale = normalize({ mean, std });

/** To learn from, in another order in each epoch. */
export const training = async () => (await fashion("train")).shuffle({ seed: 1 }).map(augment("x", [scale]));
export const validation = async () => (await fashion("test")).map(augment("x", [scale]));

/** A training of a network that gives scores of articles [batch, 10] for pictures. */
export const classifier = (net: nn.Layer, { epochs, batchSize }: { epochs: number; batchSize: number }) =>
  trainStep(net, {
    inputs: { x: ["batch", 1, 28, 28] },
    targets: { y: { dtype: "i64", shape: ["batch"] } },
    loss: losses.crossEntropy(),
    optimizer: optim.Adam(),
    schedule: schedules.warmupCosine(2e-3, 50, epochs * updatesAnEpoch(batchSize)),
    metrics: { accuracy: metrics.accuracy() },
  });

/** Batches in an epoch. */
export const updatesAnEpoch = (batchSize: number) => Math.ceil(10_000 / batchSize);

/** What a network is compared with: one linear layer, 20 epochs of Adam at 0.001 with batches of 64. */
export const linear = { name: "softmax regression on pixels", value: 0.833 };

/** Share of the test's pictures that a classifier names rightly. */
export async function accuracy(session: Pick<TrainingSession, "predict">) {
  let [right, count] = [0, 0];
  for await (const { x, y } of (await validation()).batch(500)) {
    const logits = (await session.predict({ x })).output!.data as Float32Array;
    right += argMax(logits, 10).filter((article, i) => article === Number(y.data[i])).length;
    count += x.shape[0]!;
  }
  return { accuracy: right / count };
}

/** For each article a row: the ten test pictures of it to which a classifier gives the least probability. */
export async function hardest(session: TrainingSession) {
  const test = (await fashion("test")).map(augment("x", [normalize()]));
  const found = articles.map((): { readonly probability: number; readonly pixels: Float32Array }[] => []);
  for await (const { x, y } of test.batch(500)) {
    const pixels = x.data as Float32Array;
    const feeds = { x: { dtype: "f32" as const, shape: x.shape, data: pixels.map((p) => (p - mean) / std) } };
    const logits = (await session.predict(feeds)).output!.data as Float32Array;
    for (let i = 0; i < x.shape[0]!; i++) {
      const [label, own] = [Number(y.data[i]), logits.subarray(i * 10, i * 10 + 10)];
      const probability = 1 / own.reduce((sum, logit) => sum + Math.exp(logit - own[label]!), 0);
      found[label]!.push({ probability, pixels: pixels.subarray(i * 784, i * 784 + 784) });
    }
  }
  const rows = found.map((row) => row.sort((a, b) => a.probability - b.probability).slice(0, 10));
  const pixels = rows.flat().flatMap((picture) => [...picture.pixels]);
  return { "hardest.png": grid(pixels, { size: [28, 28], columns: 10 }) };
}
