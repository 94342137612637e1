/** Articles of clothing, 10,000 to learn from and 2,000 to be measured on; see fashion/README.md. */

import { losses, metrics, type nn, optim, program, schedules, trainStep, type Value } from "wasmith";
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

const pictures = { x: ["batch", 1, 28, 28] } as const;
const labels = { y: { dtype: "i64", shape: ["batch"] } } as const;
const loss = losses.crossEntropy();

/** What `fit` of a training says. */
export interface Fit {
  readonly epochs: number;
  readonly batchSize: number;
}

/** 10,000 pictures in batches: a warm-up of 50 updates, then down to 0 with the last one. */
const schedule = ({ epochs, batchSize }: Fit) =>
  schedules.warmupCosine(2e-3, 50, epochs * Math.ceil(10_000 / batchSize));

/** A training of a network that gives scores of articles [batch, 10] for pictures. */
export const classifier = (net: nn.Layer, fit: Fit) =>
  trainStep(net, {
    inputs: pictures,
    targets: labels,
    loss,
    optimizer: optim.Adam(),
    schedule: schedule(fit),
    metrics: { accuracy: metrics.accuracy() },
  });

/** A network with classifiers on the way: `all` gives their scores too. */
export type Supervised = nn.Layer & {
  all(ctx: nn.Context, x: Value): { readonly logits: Value; readonly aux: readonly Value[] };
};

/** A training in which each classifier on the way adds 0.3 times its loss, as in GoogLeNet. */
export function supervisedOnTheWay(net: Supervised, fit: Fit) {
  const adam = optim.Adam();
  return program(
    { net },
    {
      step: {
        inputs: { ...pictures, ...labels },
        run(ctx, { x, y }) {
          const { logits, aux } = net.all(ctx, x);
          const onTheWay = aux.map((scores) => loss(scores, y)).reduce((sum, other) => sum.add(other));
          return { loss: ctx.minimize(loss(logits, y).add(onTheWay.mul(0.3)), net, adam, { schedule: schedule(fit) }) };
        },
      },
      evaluate: {
        inputs: { ...pictures, ...labels },
        training: false,
        run: (ctx, { x, y }) => ({ loss: loss(net(ctx, x), y) }),
      },
      predict: { inputs: pictures, training: false, run: (ctx, { x }) => ({ output: net(ctx, x) }) },
    },
  );
}

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
