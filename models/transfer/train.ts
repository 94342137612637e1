/** Learns the digits of other people from a hundred of them, on layers of an ONNX file: `wasmith train models/transfer`. */

import { type Goal, losses, nn, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { dataset } from "wasmith/data";
import type { History } from "wasmith/runtime";
import { scannedDigits } from "../data/scanned-digits.js";
import { argMax, floats, numbers } from "../values.js";
import { freshTrunk, importedTrunk, Transfer } from "./model.js";

const { readFile } = await import("node:fs/promises");
const file = await readFile(new URL("./mnist-7.onnx", import.meta.url));

const nets = {
  /** Only the head learns. */
  frozen: new Transfer(importedTrunk(file, { frozen: true }), { white: 255 }),
  /** The file's weights are where learning begins. */
  unfrozen: new Transfer(importedTrunk(file, { frozen: false }), { white: 255 }),
  /** The same layers with weights drawn at random. */
  fresh: new Transfer(freshTrunk()),
  linear: nn.sequential(nn.Flatten(), nn.Linear(784, 10)),
};
type Name = keyof typeof nets;

const adam = () => optim.Adam({ lr: 2e-3 });
const optimizers: Readonly<Record<Name, optim.Optimizer>> = {
  frozen: adam(),
  // What is known is changed slowly.
  unfrozen: optim.Adam({ lr: 2e-3, groups: [{ params: "unfrozen.trunk.", options: { lr: 1e-4 } }] }),
  fresh: adam(),
  linear: adam(),
};
const crossEntropy = losses.crossEntropy();
const picture = { x: ["batch", 1, 28, 28] } as const;

const transfer = program(nets, {
  learn: {
    inputs: { ...picture, y: { dtype: "i32", shape: ["batch"] } },
    run(ctx, { x, y }) {
      const step = (name: Name) => ctx.minimize(crossEntropy(nets[name](ctx, x), y), nets[name], optimizers[name]);
      return { frozen: step("frozen"), unfrozen: step("unfrozen"), fresh: step("fresh"), linear: step("linear") };
    },
  },
  predict: {
    inputs: picture,
    run: (ctx, { x }) => ({
      frozen: nets.frozen(ctx, x),
      unfrozen: nets.unfrozen(ctx, x),
      fresh: nets.fresh(ctx, x),
      linear: nets.linear(ctx, x),
    }),
  },
});
export default transfer;
type Session = SessionOf<typeof transfer>;

export const fit = { epochs: 40 };
export const goal: Goal = {
  figure: "unfrozen",
  atLeast: 0.9,
  baseline: { name: "softmax regression on the pixels of the same digits", value: 0.844 },
};

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  // 103 of 1,437.
  const known = dataset(await scannedDigits("train", { every: 14 }));
  const batches = known.shuffle({ seed }).batch(20);
  for (let epoch = 0; epoch < epochs; epoch++) {
    let [sum, steps] = [0, 0];
    for await (const { x, y } of batches.epoch(epoch)) {
      sum += numbers(await session.run({ x, y }, { entry: "learn" })).unfrozen!;
      steps++;
    }
    await report({ loss: sum / steps, ...(await measure(session)) });
  }
}

/** Shares of the other digits that are named rightly. */
export async function measure(session: Session) {
  const { x, y } = await scannedDigits("test");
  const said = await session.predict({ x });
  const share = (name: Name) => argMax(floats(said[name]), 10).filter((digit, i) => digit === y[i]).length / y.length;
  return { frozen: share("frozen"), unfrozen: share("unfrozen"), fresh: share("fresh"), linear: share("linear") };
}

export const show = async (_: Session, history: History) => ({
  "curves.svg": await history.toSVG("Digits of others, learnt from a hundred"),
});
