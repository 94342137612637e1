/** Learns handwritten digits from 500 of them: `wasmith train models/little-data`. */

import { type Goal, losses, nn, optim, program, type SessionOf, schedules, type TrainRun } from "wasmith";
import { augment, mixup, normalize, rotate, shift } from "wasmith/data";
import type { History } from "wasmith/runtime";
import { digits } from "../data/digits.js";
import { argMax, floats, numbers } from "../values.js";
import { convNet } from "./model.js";

const known = 500;
const batchSize = 25;

const nets = {
  /** Sees the pictures as they are. */
  plain: convNet(),
  /** Sees them moved and turned. */
  moved: convNet(),
  /** Sees sums of two that are moved and turned, with as much of the one's label as of its pixels. */
  mixed: convNet(),
  linear: nn.sequential(nn.Flatten(), nn.Linear(32 * 32, 10)),
};
type Name = keyof typeof nets;

export const fit = { epochs: 50 };
const optimizers = { plain: optim.Adam(), moved: optim.Adam(), mixed: optim.Adam(), linear: optim.Adam() };
const schedule = schedules.warmupCosine(2e-3, 20, (fit.epochs * known) / batchSize);
const crossEntropy = losses.crossEntropy();
const pictures = ["batch", 1, 32, 32] as const;
const labels = { dtype: "i32", shape: ["batch"] } as const;

const littleData = program(nets, {
  learn: {
    inputs: { plain: pictures, labels, moved: pictures, mixed: pictures, shares: ["batch", 10] },
    run(ctx, { plain, labels: y, moved, mixed, shares }) {
      const step = (name: Name, x: typeof plain, target: typeof y) =>
        ctx.minimize(crossEntropy(nets[name](ctx, x), target), nets[name], optimizers[name], { schedule });
      return {
        plain: step("plain", plain, y),
        moved: step("moved", moved, y),
        mixed: step("mixed", mixed, shares),
        linear: step("linear", plain, y),
      };
    },
  },
  predict: {
    inputs: { x: pictures },
    run: (ctx, { x }) => ({
      plain: nets.plain(ctx, x),
      moved: nets.moved(ctx, x),
      mixed: nets.mixed(ctx, x),
      linear: nets.linear(ctx, x),
    }),
  },
});
export default littleData;
type Session = SessionOf<typeof littleData>;

export const goal: Goal = {
  figure: "mixed",
  atLeast: 0.93,
  baseline: { name: "the same network, which sees the pictures as they are", value: 0.898 },
};

/** Pictures 28×28 in the middle of 32×32. */
const margin = 2;
/** Mean 0 and deviation 1 over all pixels. */
const scale = normalize({ mean: 0.1307, std: 0.3081 });

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const few = (await digits("train", { margin })).take(known).shuffle({ seed });
  const batched = { dtypes: { y: "i32" } } as const;
  const plain = few.map(augment("x", [scale])).batch(batchSize, batched);
  const moved = few.map(augment("x", [shift({ x: 2, y: 2 }), rotate(15), scale]), { seed: 1 });
  const mixed = moved
    .batch(batchSize, batched)
    .map(mixup({ images: "x", labels: "y", classes: 10, alpha: 0.2 }), { seed: 2 });
  const batches = plain
    .zip(moved.batch(batchSize, batched), (a, b) => ({ plain: a.x, labels: a.y, moved: b.x }))
    .zip(mixed, (a, b) => ({ ...a, mixed: b.x, shares: b.y }))
    .prefetch(2);
  for (let epoch = 0; epoch < epochs; epoch++) {
    const sums = { plain: 0, moved: 0, mixed: 0, linear: 0 };
    for await (const batch of batches.epoch(epoch)) {
      const loss = numbers(await session.run(batch, { entry: "learn" }));
      for (const name of Object.keys(sums) as Name[]) sums[name] += (loss[name]! * batchSize) / known;
    }
    await report(sums);
  }
}

/** Shares of the test's digits that are named rightly. */
export async function measure(session: Session) {
  const right = { plain: 0, moved: 0, mixed: 0, linear: 0 };
  const test = (await digits("test", { margin })).map(augment("x", [scale]));
  for await (const { x, y } of test.batch(500)) {
    const said = await session.run({ x }, { entry: "predict" });
    for (const name of Object.keys(right) as Name[])
      right[name] += argMax(floats(said[name]), 10).filter((digit, i) => digit === Number(y.data[i])).length / 5000;
  }
  return right;
}

export const show = async (_: Session, history: History) => ({
  "curves.svg": await history.toSVG(`Losses while learning from ${known} digits`),
});
