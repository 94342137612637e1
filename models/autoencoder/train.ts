/** Trains the autoencoder on handwritten digits: `wasmith train models/autoencoder`. */

import { F, type Goal, optim, program, type SessionOf, schedules } from "wasmith";
import { drawCharts } from "wasmith/callbacks";
import { pointsOf } from "../curves.js";
import { digitBytes, flat, flatDigits } from "../data/digits.js";
import { grid } from "../pictures.js";
import { floats } from "../values.js";
import { Autoencoder } from "./model.js";

const code = 2;
const autoencoder = new Autoencoder({ code });

export const fit = { epochs: 40, batchSize: 50 };
const schedule = schedules.warmupCosine(2e-3, 100, fit.epochs * (10_000 / fit.batchSize));

const autoencoderProgram = program(
  { autoencoder },
  {
    step: {
      inputs: { x: ["batch", 784] },
      run: (ctx, { x }) => ({
        loss: ctx.minimize(F.mseLoss(autoencoder(ctx, x), x), autoencoder, optim.Adam(), { schedule }),
      }),
    },
    evaluate: { inputs: { x: ["batch", 784] }, run: (ctx, { x }) => ({ loss: F.mseLoss(autoencoder(ctx, x), x) }) },
    predict: { inputs: { x: ["batch", 784] }, run: (ctx, { x }) => ({ reconstruction: autoencoder(ctx, x) }) },
    encode: { inputs: { x: ["batch", 784] }, run: (ctx, { x }) => ({ code: autoencoder.encoder(ctx, x) }) },
    decode: { inputs: { code: ["batch", code] }, run: (ctx, values) => ({ x: autoencoder.decode(ctx, values.code) }) },
  },
);
export default autoencoderProgram;
type Session = SessionOf<typeof autoencoderProgram>;

export const dataset = () => flatDigits("train");
export const validation = () => flatDigits("test");
export const goal: Goal = {
  figure: "loss",
  atMost: 0.042,
  baseline: { name: "PCA with two components, squared error of a pixel", value: 0.0544 },
};

/** Where the codes of 2,000 digits lie, and digits above what is made of their two numbers. */
export async function show(session: Session) {
  const bytes = await digitBytes("test");
  const { labels } = bytes;
  const { x } = flat(bytes);
  const count = 2000;
  const first = { ...x, shape: [count, 784], data: x.data.subarray(0, count * 784) };
  const codes = floats((await session.encode({ x: first })).code);
  const names = Array.from({ length: 10 }, (_, digit) => String(digit));
  const lines = Object.fromEntries(
    names.map((name) => [name, pointsOf(codes.filter((_, i) => String(labels.data[i >> 1]) === name))]),
  );
  const made = floats((await session.predict({ x: first })).reconstruction);
  const rows = [0, 10].flatMap((from) =>
    [x.data, made].flatMap((pictures) => [...pictures.subarray(from * 784, (from + 10) * 784)]),
  );
  return {
    "codes.svg": drawCharts("Codes of digits", [{ title: "", axis: "", lines, dots: names, equalUnits: true }]),
    "digits.png": grid(rows, { size: [28, 28], columns: 10 }),
  };
}
