/** Trains a small capsule network on handwritten digits: `wasmith train models/capsules`. */

import { F, type Goal, optim, program, type SessionOf, schedules, type Value } from "wasmith";
import { digitBytes, type Part } from "../data/digits.js";
import { grid } from "../pictures.js";
import { floats } from "../values.js";
import { CapsNet, lengths, marginLoss } from "./model.js";

export const fit = { epochs: 3, batchSize: 50 };

const net = new CapsNet({ channels: 16, types: 4, hidden: [128, 256] });
const adam = optim.Adam();
const schedule = schedules.warmupCosine(2e-3, 50, fit.epochs * Math.ceil(10_000 / fit.batchSize));
const labelled = { x: ["batch", 1, 28, 28], y: { dtype: "i64", shape: ["batch"] } } as const;

const accuracy = (capsules: Value, y: Value) => lengths(capsules).argMax(1).eq(y).cast("f32").mean();

const capsules = program(
  { net },
  {
    step: {
      inputs: labelled,
      run(ctx, { x, y }) {
        const found = net(ctx, x);
        const missed = F.mseLoss(net.decode(ctx, found, y), x.flatten(1));
        // The paper's 0.0005, of a sum over 784 pixels.
        const loss = marginLoss(found, y).add(missed.mul(0.0005 * 784));
        return { loss: ctx.minimize(loss, net, adam, { schedule }), accuracy: accuracy(found, y) };
      },
    },
    evaluate: {
      inputs: labelled,
      run(ctx, { x, y }) {
        const found = net(ctx, x);
        return { loss: marginLoss(found, y), accuracy: accuracy(found, y) };
      },
    },
    predict: { inputs: { x: labelled.x }, run: (ctx, { x }) => ({ lengths: lengths(net(ctx, x)) }) },
    encode: { inputs: { x: labelled.x }, run: (ctx, { x }) => ({ capsules: net(ctx, x) }) },
    decode: {
      inputs: { capsules: ["batch", 10, 16], y: labelled.y },
      run: (ctx, { capsules: given, y }) => ({ x: net.decode(ctx, given, y) }),
    },
  },
);
export default capsules;
type Session = SessionOf<typeof capsules>;

const pictures = async (part: Part) => {
  const { count, pixels, labels } = await digitBytes(part);
  return {
    x: { dtype: "f32" as const, shape: [count, 1, 28, 28], data: Float32Array.from(pixels, (p) => p / 255) },
    y: { dtype: "i64" as const, shape: [count], data: BigInt64Array.from(labels.data as Uint8Array, BigInt) },
  };
};

export const dataset = () => pictures("train");
export const validation = () => pictures("test");
export const goal: Goal = {
  figure: "accuracy",
  atLeast: 0.95,
  baseline: { name: "softmax regression on pixels", value: 0.879 },
};

/** Digits as their capsule describes them, and with one of its numbers changed: six numbers in as many rows. */
export async function show(session: Session) {
  const { x, y } = await pictures("test");
  const label = Number(y.data[0]);
  const encoded = await session.encode({ x: { ...x, shape: [1, 1, 28, 28], data: x.data.subarray(0, 784) } });
  const found = floats(encoded.capsules);
  const changed = Array.from({ length: 66 }, (_, i) => {
    const copy = Float32Array.from(found);
    copy[label * 16 + Math.floor(i / 11)]! += ((i % 11) - 5) * 0.05;
    return [...copy];
  });
  const made = await session.decode({
    capsules: { dtype: "f32", shape: [66, 10, 16], data: Float32Array.from(changed.flat()) },
    y: { dtype: "i64", shape: [66], data: new BigInt64Array(66).fill(BigInt(label)) },
  });
  return { "changed.png": grid(floats(made.x), { size: [28, 28], columns: 11 }) };
}
