/** Trains a perceptron on handwritten digits, and makes it cheaper in six ways: `wasmith train models/compression`. */

import { F, type Goal, optim, program, type SessionOf, type TrainRun, type Value } from "wasmith";
import { augment, normalize, shift } from "wasmith/data";
import type { Tensor } from "wasmith/runtime";
import { digits } from "../data/digits.js";
import { membership } from "../membership.js";
import { floats, numbers, tensorOf } from "../values.js";
import { distillation, Perceptron, Pruned, Rounding, rounded, stored } from "./model.js";
import { type Pictures, type Row, rowOf, tableOf } from "./table.js";

/** The sizes of LeNet-300-100, which most papers on pruning begin with. */
const large = [784, 300, 100, 10];
const little = [784, 32, 10];
const teacher = new Perceptron(large);
/** The teacher's weights, and then: a tenth of them left, or all as -1, 0 and 1 times a scale. */
const pruned = new Pruned(large);
const ternary = new Rounding(large, 2);
/** Learns from the digits themselves, as the teacher does. */
const alone = new Perceptron(little);
/** Learns from the teacher alone. */
const student = new Perceptron(little);
/** Softmax regression, the baseline. */
const linear = new Perceptron([784, 10]);

const x = ["batch", 1, 28, 28] as const;
const y = { dtype: "i32", shape: ["batch"] } as const;

/** Levels and scales of a matrix of weights. */
const rounding = (bits: number) => ({
  inputs: { weight: ["out", "in"] } as const,
  run(_: unknown, { weight }: { weight: Value }) {
    const { levels, scale } = rounded(weight, bits);
    return { levels: levels.cast("i8"), scale };
  },
});

const compressionProgram = program(
  { teacher, pruned, ternary, alone, student, linear },
  {
    learn: {
      inputs: { x, y },
      run(ctx, { x, y }) {
        const learnt = (net: Perceptron) => ctx.minimize(F.crossEntropy(net(ctx, x), y), net, optim.Adam({ lr: 1e-3 }));
        return { loss: learnt(teacher), alone: learnt(alone), linear: learnt(linear) };
      },
    },
    prune: {
      inputs: {},
      run(ctx) {
        pruned.smallest(ctx, 0.9).forEach((mask, layer) => {
          ctx.assign(pruned.masks[layer]!, mask);
        });
        return undefined;
      },
    },
    refine: {
      inputs: { x, y },
      run(ctx, { x, y }) {
        const learnt = (net: Perceptron) => ctx.minimize(F.crossEntropy(net(ctx, x), y), net, optim.Adam({ lr: 1e-3 }));
        return { loss: learnt(ternary), pruned: learnt(pruned) };
      },
    },
    distil: {
      inputs: { x },
      run: (ctx, { x }) => ({
        loss: ctx.minimize(distillation(student(ctx, x), teacher(ctx, x), 4), student, optim.Adam({ lr: 2e-3 })),
      }),
    },
    round8: rounding(8),
    round4: rounding(4),
    round2: rounding(2),
    predict: { inputs: { x }, run: (ctx, { x }) => ({ logits: student(ctx, x) }) },
    losses: {
      inputs: { x, y },
      run(ctx, { x, y }) {
        const loss = (net: Perceptron) => F.crossEntropy(net(ctx, x), y, { reduction: "none" });
        return { teacher: loss(teacher), student: loss(student) };
      },
    },
  },
);
export default compressionProgram;
type Session = SessionOf<typeof compressionProgram>;

export const fit = { epochs: 10, batchSize: 100 };

const scale = normalize();
/** Moved by up to a pixel, differently in each epoch. */
const moved = augment("x", [shift({ x: 1, y: 1 }), scale]);
const parts = async () => {
  const all = await digits("train");
  return {
    /** The teacher's digits are its secret. */
    secret: all.take(7000),
    /** The student sees others, which nobody has named. */
    open: all.skip(7000).take(2000),
    /** Nobody learns from these. */
    unseen: all.skip(9000),
  };
};

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const { secret, open } = await parts();
  const named = secret
    .shuffle({ seed })
    .map(moved, { seed })
    .batch(fit.batchSize, { dtypes: { y: "i32" } });
  const pictures = open.map(({ x }) => ({ x })).shuffle({ seed });
  const unnamed = pictures.map(moved, { seed }).batch(fit.batchSize);
  for (let epoch = 0; epoch < epochs; epoch++) {
    let loss = 0;
    for await (const batch of named.epoch(epoch)) loss = numbers(await session.run(batch, { entry: "learn" })).loss!;
    await report({ loss });
  }
  session.copyState("teacher.layers.", "pruned.layers.");
  session.copyState("teacher.layers.", "ternary.layers.");
  await session.prune({});
  for (let epoch = 0; epoch < Math.ceil(epochs / 2); epoch++)
    for await (const batch of named.epoch(epochs + epoch)) await session.run(batch, { entry: "refine" });
  // Ten times as often, as there are fewer digits, and the teacher answers as often as it is asked.
  for (let epoch = 0; epoch < 10 * epochs; epoch++)
    for await (const batch of unnamed.epoch(epoch)) await session.run(batch, { entry: "distil" });
}

interface LayerState {
  readonly weight: Tensor<"f32">;
  readonly bias: Tensor;
}

/** What a network of the session has learnt. */
function layersOf(session: Session, name: string, sizes: readonly number[]): readonly LayerState[] {
  return sizes.slice(1).map((_, i) => {
    const [weight, bias] = ["weight", "bias"].map((what) => session.getState(`${name}.layers.${i}.${what}`));
    const data = floats(weight);
    const mask = name === "pruned" ? floats(session.getState(`pruned.masks.${i}`)) : undefined;
    const kept = mask ? data.map((v, at) => v * mask[at]!) : data;
    return { weight: { dtype: "f32", shape: weight!.shape, data: kept }, bias: bias! };
  });
}

const inFloats = (sizes: readonly number[], layers: readonly LayerState[]) =>
  new Perceptron(sizes).loadState(
    Object.fromEntries(
      layers.flatMap(({ weight, bias }, i) => [
        [`layers.${i}.weight`, weight],
        [`layers.${i}.bias`, bias],
      ]),
    ),
  );

/** Bytes that hold several levels, the lowest bits first; what is stored is not negative. */
function inBytes({ shape: [rows, width], data }: Tensor, bits: number): Tensor {
  const each = 8 / bits;
  const bytes = Uint8Array.from({ length: data.length / each }, (_, at) =>
    Array.from({ length: each }, (_, i) => (Number(data[at * each + i]) + 2 ** (bits - 1)) << (bits * i)).reduce(
      (a, b) => a | b,
    ),
  );
  return { dtype: "u8", shape: [rows!, width! / each], data: bytes };
}

async function inBits(session: Session, sizes: readonly number[], layers: readonly LayerState[], bits: 2 | 4 | 8) {
  const state: Record<string, Tensor> = {};
  for (const [i, { weight, bias }] of layers.entries()) {
    const made = await session[`round${bits}`]({ weight });
    const levels = tensorOf(made.levels);
    const at = 1 + 2 * i;
    state[`${at}.levels`] = bits === 8 ? levels : inBytes(levels, bits);
    state[`${at}.scale`] = tensorOf(made.scale);
    state[`${at}.bias`] = bias;
  }
  return stored(sizes, bits).loadState(state);
}

const test = async (): Promise<Pictures> => {
  const { x, y } = await (await digits("test"))
    .map(augment("x", [scale]))
    .batch(5000)
    .at(0);
  return { x: { dtype: "f32", shape: x.shape, data: floats(x) }, y: Array.from(y.data, Number) };
};

/** All of it, measured. */
async function rowsOf(session: Session): Promise<readonly Row[]> {
  const pictures = await test();
  const rows: Row[] = [];
  const add = async (title: string, name: string, sizes: readonly number[], bits?: 2 | 4 | 8) => {
    const layers = layersOf(session, name, sizes);
    const net = bits ? await inBits(session, sizes, layers, bits) : inFloats(sizes, layers);
    const weights = layers.reduce((sum, { weight }) => sum + weight.data.filter((v) => v !== 0).length, 0);
    rows.push(await rowOf(title, net, weights, pictures));
  };
  await add("softmax regression", "linear", [784, 10]);
  await add("the teacher", "teacher", large);
  await add("its weights in 8 bits", "teacher", large, 8);
  await add("in 4 bits", "teacher", large, 4);
  await add("in 2 bits", "teacher", large, 2);
  await add("in 2 bits, and trained so", "ternary", large, 2);
  await add("a tenth of its weights, the rest 0", "pruned", large);
  await add("and these in 8 bits", "pruned", large, 8);
  await add("a small network, from digits and their names", "alone", little);
  await add("from the teacher, without names", "student", little);
  await add("and in 8 bits", "student", little, 8);
  return rows;
}

/** Measured once, for the figures and for the table. */
const measured = new WeakMap<Session, Promise<readonly Row[]>>();
const rowsOnce = (session: Session) => {
  const rows = measured.get(session) ?? rowsOf(session);
  measured.set(session, rows);
  return rows;
};

export async function measure(session: Session) {
  const [, teacher, , , rounded2, ternary, , pruned8, alone, student, student8] = await rowsOnce(session);
  // Who guesses which digits the teacher has seen, by their losses, is right so often.
  const lossesOf = async (data: Awaited<ReturnType<typeof digits>>) => {
    const pictures = data.map(augment("x", [scale])).batch(1000, { dtypes: { y: "i32" } });
    return session.run(await pictures.at(0), { entry: "losses" });
  };
  const { secret, unseen } = await parts();
  const [seen, others] = [await lossesOf(secret), await lossesOf(unseen)];
  return {
    accuracy: student8!.accuracy,
    linear: (await rowsOnce(session))[0]!.accuracy,
    teacher: teacher!.accuracy,
    rounded2: rounded2!.accuracy,
    ternary: ternary!.accuracy,
    pruned8: pruned8!.accuracy,
    alone: alone!.accuracy,
    student: student!.accuracy,
    teacherTells: membership(floats(seen.teacher), floats(others.teacher)),
    studentTells: membership(floats(seen.student), floats(others.student)),
  };
}

export const goal: Goal = {
  figure: "accuracy",
  atLeast: 0.912,
  baseline: { name: "softmax regression, in 31 KB of floats", value: 0.867 },
};

export const show = async (session: Session) => ({ "table.md": tableOf(await rowsOnce(session)) });
