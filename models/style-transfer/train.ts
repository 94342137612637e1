/** Trains a network to paint scenes of shapes in brush strokes: `wasmith train models/style-transfer`. */

import { F, type Goal, nn, optim, program, type SessionOf, type TrainRun } from "wasmith";
import type { Tensor } from "wasmith/runtime";
import { brushStrokes, patches, scenes } from "../data/paintings.js";
import { grid } from "../pictures.js";
import { floats, numbers } from "../values.js";
import { Eye, painter, paintingLoss, variation } from "./model.js";

const side = 64;
const batch = 2;
const net = painter();
const eye = new Eye();
/** A picture whose pixels are learnt. */
const canvas = nn.parameter([1, 3, side, side], nn.init.constant(0.5));
const style = brushStrokes(side);
const styleWeight = 2;

const whole = ({ content, style }: ReturnType<typeof paintingLoss>) => content.add(style.mul(styleWeight));

const styleProgram = program(
  { net, eye, canvas },
  {
    /** The eye learns to tell textures apart. */
    learnEye: {
      inputs: { x: ["batch", 3, 32, 32], y: { dtype: "i32", shape: ["batch"] } },
      run(ctx, { x, y }) {
        return { loss: ctx.minimize(F.crossEntropy(eye(ctx, x), y), eye, optim.Adam({ lr: 3e-3 })) };
      },
    },
    learn: {
      inputs: { x: [batch, 3, side, side] },
      run(ctx, { x }) {
        const loss = whole(paintingLoss(ctx, eye, { y: net(ctx, x), x, style: F.constant(style) }));
        return { loss: ctx.minimize(loss, net, optim.Adam({ lr: 3e-3 })) };
      },
    },
    /** Begins with the picture itself, and a little noise, of which strokes can grow. */
    begin: {
      inputs: { x: [1, 3, side, side] },
      run(ctx, { x }) {
        ctx.assign(canvas, x.add(F.randnLike(ctx, x).mul(0.1)));
        return undefined;
      },
    },
    /** Changes the pixels of the canvas so that it shows x in the style: a step. */
    optimise: {
      inputs: { x: [1, 3, side, side] },
      run(ctx, { x }) {
        const painted = ctx.value(canvas);
        const loss = whole(paintingLoss(ctx, eye, { y: painted, x, style: F.constant(style) }));
        // Single pixels would stand out: what a network paints is smoother by itself.
        ctx.minimize(loss.add(variation(painted).mul(0.5)), canvas, optim.Adam({ lr: 0.03 }));
        const y = F.clamp(ctx.value(canvas), 0, 1);
        ctx.assign(canvas, y);
        return { loss, y };
      },
    },
    paint: { inputs: { x: ["count", 3, side, side] }, run: (ctx, { x }) => ({ y: net(ctx, x) }) },
    judge: {
      inputs: { x: ["count", 3, side, side], y: ["count", 3, side, side] },
      run(ctx, { x, y }) {
        const { content, style: painted } = paintingLoss(ctx, eye, { y, x, style: F.constant(style) });
        return { content, style: painted, loss: content.add(painted.mul(styleWeight)) };
      },
    },
  },
);
export default styleProgram;
type Session = SessionOf<typeof styleProgram>;

/** Rounds of 50 steps. */
export const fit = { epochs: 16 };

async function trainEye(session: Session, seed: number) {
  for (let step = 0; step < 200; step++) await session.learnEye(patches(32, 32, seed + step));
}

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  await trainEye(session, seed);
  for (let round = 0; round < epochs; round++) {
    let loss = 0;
    for (let step = 0; step < 50; step++)
      loss += numbers(await session.learn({ x: scenes(batch, side, seed + 50 * round + step) })).loss! / 50;
    await report({ loss });
  }
}

/** Scenes that were not learnt. */
const unseen = (count: number) => scenes(count, side, 1_000_000);

async function paint(session: Session, x: Tensor<"f32">): Promise<Tensor<"f32">> {
  return { ...x, data: floats((await session.paint({ x })).y) };
}

async function optimised(session: Session, x: Tensor<"f32">, steps = 400): Promise<Tensor<"f32">> {
  await session.begin({ x });
  let y = x.data;
  for (let step = 0; step < steps; step++) y = floats((await session.optimise({ x })).y);
  return { ...x, data: y };
}

/** The baseline: each colour moved to the mean and deviation that it has in the style. */
function recoloured({ shape, data }: Tensor<"f32">): Tensor<"f32"> {
  const pixels = side * side;
  const moments = (values: Float32Array) => {
    const mean = values.reduce((sum, v) => sum + v / pixels, 0);
    return { mean, deviation: Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2 / pixels, 0)) };
  };
  const made = new Float32Array(data.length);
  for (let at = 0; at < data.length; at += pixels) {
    const channel = (at / pixels) % 3;
    const own = moments(data.subarray(at, at + pixels));
    const wanted = moments(style.data.subarray(channel * pixels, (channel + 1) * pixels));
    for (let i = at; i < at + pixels; i++)
      made[i] = wanted.mean + ((data[i]! - own.mean) / (own.deviation + 1e-6)) * wanted.deviation;
  }
  return { dtype: "f32", shape, data: made.map((v) => Math.min(1, Math.max(0, v))) };
}

export async function measure(session: Session) {
  const x = unseen(16);
  const judged = async (y: Tensor<"f32">) => numbers(await session.judge({ x, y })).loss!;
  return {
    loss: await judged(await paint(session, x)),
    recoloured: await judged(recoloured(x)),
    unchanged: await judged(x),
  };
}

export const goal: Goal = {
  figure: "loss",
  atMost: 0.456,
  baseline: { name: "colours moved to the style's means and deviations", value: 0.911 },
};

/** The style, and scenes: as they are, as the network paints them, and the first one as it is painted pixel by pixel. */
export async function show(session: Session) {
  const x = unseen(6);
  const { data: painted } = await paint(session, x);
  const first = { ...x, shape: [1, 3, side, side], data: x.data.subarray(0, 3 * side * side) };
  const { data: byPixels } = await optimised(session, first);
  const pictures = (data: ArrayLike<number>, columns: number) =>
    grid(data, { size: [side, side], channels: 3, columns });
  return {
    "painted.png": pictures(Float32Array.from([...x.data, ...painted]), 6),
    "optimised.png": pictures(Float32Array.from([...style.data, ...first.data, ...byPixels]), 3),
  };
}
