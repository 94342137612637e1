/** Trains a classifier of digits with differential privacy, at ε = 3: `wasmith train models/private`. */

import {
  F,
  type Goal,
  noiseFor,
  optim,
  privacySpent,
  program,
  type SessionOf,
  type TrainRun,
  type Value,
} from "wasmith";
import { randomOf } from "wasmith/data";
import { digitBytes, flat } from "../data/digits.js";
import { membership } from "../membership.js";
import { argMax, floats, numbers } from "../values.js";
import { Classifier, privateGradients } from "./model.js";

const samples = 8000;
const expectedBatch = 200;
export const fit = { epochs: 20 };

/** What is spent: δ is less than 1 by the number of samples. */
const plan = { samplingRate: expectedBatch / samples, steps: (fit.epochs * samples) / expectedBatch, delta: 1e-5 };
const noiseMultiplier = noiseFor({ ...plan, epsilon: 3 });

const net = new Classifier();
/** The same network, learning from the same batches without privacy: what privacy costs. */
const open = new Classifier();

const privateProgram = program(
  { net, open },
  {
    learn: {
      inputs: { x: ["n", 784], y: "i32[n]" },
      run(ctx, { x, y }) {
        const weights = ctx.parameters(net).map((p) => p.value);
        const loss = (x: Value, y: Value) => F.crossEntropy(net(ctx, x), y);
        const gradients = privateGradients(ctx, loss, [x, y], weights, { clip: 1, noiseMultiplier, expectedBatch });
        ctx.applyGradients(gradients, net, optim.SGD({ lr: 10 }));
        const openLoss = ctx.minimize(F.crossEntropy(open(ctx, x), y), open, optim.SGD({ lr: 10 }));
        return { loss: loss(x, y), openLoss };
      },
    },
    losses: {
      inputs: { x: ["n", 784], y: "i32[n]" },
      run(ctx, { x, y }) {
        const loss = (of: Classifier) => F.crossEntropy(of(ctx, x), y, { reduction: "none" });
        return { net: loss(net), open: loss(open) };
      },
    },
    predict: { inputs: { x: ["n", 784] }, run: (ctx, { x }) => ({ net: net(ctx, x), open: open(ctx, x) }) },
  },
);
export default privateProgram;
type Session = SessionOf<typeof privateProgram>;

/** Digits to learn from; every fifth of their file, which are not learnt from; and those of another file. */
type Part = "seen" | "unseen" | "test";

async function digits(part: Part) {
  const bytes = await digitBytes(part === "test" ? "test" : "train");
  const all = flat(bytes).x.data;
  const labels = bytes.labels.data as Uint8Array;
  const chosen = Array.from(labels.keys()).filter((i) => part === "test" || (i % 5 === 0) === (part === "unseen"));
  const pixels = new Float32Array(chosen.length * 784);
  for (const [i, from] of chosen.entries()) pixels.set(all.subarray(from * 784, (from + 1) * 784), i * 784);
  return { pixels, labels: Int32Array.from(chosen, (from) => labels[from]!) };
}

/** Batches are drawn by chance, each sample by itself: what the accountant takes for granted. */
export async function train(session: Session, run: TrainRun) {
  const { pixels, labels } = await digits("seen");
  const random = randomOf(1 + run.seed);
  const steps = samples / expectedBatch;
  for (let epoch = 0; epoch < run.epochs; epoch++) {
    const sums = { loss: 0, openLoss: 0 };
    for (let step = 0; step < steps; step++) {
      const drawn = Array.from({ length: samples }, (_, i) => i).filter(() => random.uniform() < plan.samplingRate);
      const x = new Float32Array(drawn.length * 784);
      for (const [i, from] of drawn.entries()) x.set(pixels.subarray(from * 784, (from + 1) * 784), i * 784);
      const told = numbers(await session.learn({ x, y: Int32Array.from(drawn, (from) => labels[from]!) }));
      sums.loss += told.loss! / steps;
      sums.openLoss += told.openLoss! / steps;
    }
    await run.report(sums);
  }
}

/** Figures of the private network, and of the open one. */
export async function measure(session: Session) {
  const told = async (part: Part) => {
    const { pixels: x, labels: y } = await digits(part);
    const [logits, losses] = [await session.predict({ x }), await session.losses({ x, y })];
    const of = (name: "net" | "open") => {
      const right = argMax(floats(logits[name]), 10).filter((digit, i) => digit === y[i]).length;
      return { accuracy: right / y.length, losses: floats(losses[name]) };
    };
    return { net: of("net"), open: of("open") };
  };
  const [seen, unseen, test] = [await told("seen"), await told("unseen"), await told("test")];
  return {
    accuracy: test.net.accuracy,
    epsilon: privacySpent({ ...plan, noiseMultiplier }).epsilon,
    membership: membership(seen.net.losses, unseen.net.losses),
    openAccuracy: test.open.accuracy,
    openMembership: membership(seen.open.losses, unseen.open.losses),
  };
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** What privacy costs. */
export async function show(session: Session) {
  const { accuracy, epsilon, membership, openAccuracy, openMembership } = await measure(session);
  const rows = [
    ["with privacy", epsilon.toFixed(2), accuracy, membership],
    ["without", "none", openAccuracy, openMembership],
  ] as const;
  return {
    "table.md": [
      "| the same network | ε | other digits right | attacker right |",
      "|---|---|---|---|",
      ...rows.map(([name, spent, right, told]) => `| ${name} | ${spent} | ${percent(right)} | ${percent(told)} |`),
      "",
    ].join("\n"),
  };
}

export const goal: Goal = {
  figure: "accuracy",
  atLeast: 0.893,
  baseline: { name: "a linear model with the same privacy", value: 0.866 },
};
