/** Learns digits on textured grounds from labels of digits that are white on black: `wasmith train models/domain-adaptation`. */

import { F, type Goal, losses, optim, program, type SessionOf, schedules, type TrainRun } from "wasmith";
import { dataset } from "wasmith/data";
import { grid } from "../pictures.js";
import { argMax, floats, numbers } from "../values.js";
import { domains } from "./domains.js";
import { DomainAdversarial } from "./model.js";

const adapted = new DomainAdversarial();
/** The same network, which sees white digits on black only. */
const plain = new DomainAdversarial();
/** The same network with labels of the other domain: as good as adaptation could get. */
const told = new DomainAdversarial();
const crossEntropy = losses.crossEntropy();
const bce = losses.bceWithLogits();

const picture = ["batch", 1, 28, 28] as const;
const labels = { dtype: "i32", shape: ["batch"] } as const;
const batchSize = 64;
const digitsOfEach = 5_000;
const stepsOfEpoch = Math.floor(digitsOfEach / batchSize);

export const fit = { epochs: 24 };

/** How much the features work against the critic at last. */
const most = 1;
const schedule = schedules.warmupCosine(0.03, 30, fit.epochs * stepsOfEpoch);
/** Not Adam, which makes steps as large where there is nothing to learn but from the critic, whatever the strength. */
const sgd = () => optim.SGD({ lr: 0.03, momentum: 0.9 });

const adaptation = program(
  { adapted, plain, told },
  {
    learn: {
      /** `hidden` are the labels of the target; the adapted network does not see them. */
      inputs: { source: picture, y: labels, target: picture, hidden: labels, strength: [] },
      run(ctx, { source, y, target, hidden, strength }) {
        const [here, there] = [adapted(ctx, source, strength), adapted(ctx, target, strength)];
        const loss = crossEntropy(here.classes, y);
        const seen = F.cat([here.domain, there.domain]);
        const domain = bce(seen, F.cat([F.onesLike(here.domain), F.zerosLike(there.domain)]));
        ctx.minimize(loss.add(domain), adapted, sgd(), { schedule });
        ctx.minimize(crossEntropy(plain.classes(ctx, source), y), plain, sgd(), { schedule });
        ctx.minimize(crossEntropy(told.classes(ctx, target), hidden), told, sgd(), { schedule });
        return { loss, domain };
      },
    },
    predict: {
      inputs: { x: picture },
      run: (ctx, { x }) => ({
        adapted: adapted.classes(ctx, x),
        plain: plain.classes(ctx, x),
        told: told.classes(ctx, x),
      }),
    },
  },
  { fit: false },
);
export default adaptation;
type Session = SessionOf<typeof adaptation>;

export const goal: Goal = {
  figure: "closed",
  atLeast: 1 / 3,
  baseline: { name: "the same network without the other domain", value: 0 },
};

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  // No digit is in both domains.
  const here = await domains("train", { to: digitsOfEach });
  const there = await domains("train", { from: digitsOfEach, seed: 2 });
  const pictures = (data: Float32Array<ArrayBuffer>) => ({ dtype: "f32", shape: here.shape, data }) as const;
  const source = dataset({ source: pictures(here.plain), y: here.y }).shuffle({ seed });
  const target = dataset({ target: pictures(there.textured), hidden: there.y }).shuffle({ seed: seed + 1 });
  const dropLast = true;
  const both = source.batch(batchSize, { dropLast }).zip(target.batch(batchSize, { dropLast }));
  const steps = epochs * stepsOfEpoch;
  let step = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    const sums = { loss: 0, domain: 0 };
    for await (const batch of both.epoch(epoch)) {
      // The ramp of the paper: at first the features only learn the classes.
      const ramp = 2 / (1 + Math.exp((-10 * step++) / steps)) - 1;
      const strength = { dtype: "f32", shape: [], data: Float32Array.of(most * ramp) } as const;
      const { loss, domain } = numbers(await session.run({ ...batch, strength }, { entry: "learn" }));
      sums.loss += loss! / stepsOfEpoch;
      sums.domain += domain! / stepsOfEpoch;
    }
    await report({ ...sums, ...(await measure(session, 500)) });
  }
}

/** Shares of digits that are read right, and how much of the gap between the networks without and with labels adaptation closes. */
export async function measure(session: Session, count = 5_000) {
  const { shape, textured, plain: white, y } = await domains("test", { to: count, seed: 3 });
  const shares = async (data: Float32Array<ArrayBuffer>) => {
    const logits = await session.run({ x: { dtype: "f32", shape, data } }, { entry: "predict" });
    const right = (of: Float32Array) => argMax(of, 10).filter((digit, i) => digit === y[i]).length / count;
    return {
      adapted: right(floats(logits.adapted)),
      plain: right(floats(logits.plain)),
      told: right(floats(logits.told)),
    };
  };
  const { adapted: accuracy, plain: without, told: bound } = await shares(textured);
  const { adapted: onSource } = await shares(white);
  return { accuracy, without, bound, closed: (accuracy - without) / (bound - without), onSource };
}

/** Digits in both domains. */
export async function show() {
  const { textured, plain: white } = await domains("test", { to: 20, seed: 3 });
  return {
    "domains.png": grid(Float32Array.from([...white, ...textured]), { size: [28, 28], columns: 10 }),
  };
}
