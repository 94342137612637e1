/** Trains the variational autoencoder on handwritten digits: `wasmith train models/vae`. */

import { F, type Goal, optim, program, type SessionOf } from "wasmith";
import { randomOf } from "wasmith/data";
import { flatDigits } from "../data/digits.js";
import { grid } from "../pictures.js";
import { floats } from "../values.js";
import { freeEnergy, Vae } from "./model.js";

const latent = 20;
const vae = new Vae({ latent });
const adam = optim.Adam({ lr: 1e-3 });

const vaeProgram = program(
  { vae },
  {
    step: {
      inputs: { x: ["batch", 784] },
      run(ctx, { x }) {
        return { loss: ctx.minimize(freeEnergy(x, vae(ctx, x)), vae, adam) };
      },
    },
    evaluate: { inputs: { x: ["batch", 784] }, run: (ctx, { x }) => ({ loss: freeEnergy(x, vae(ctx, x)) }) },
    predict: {
      inputs: { z: ["batch", latent] },
      run: (ctx, { z }) => ({ x: F.sigmoid(vae.decoder(ctx, z)) }),
    },
    encode: { inputs: { x: ["batch", 784] }, run: (ctx, { x }) => ({ z: vae.encode(ctx, x).mean }) },
  },
);
export default vaeProgram;
type Session = SessionOf<typeof vaeProgram>;

export const fit = { epochs: 20, batchSize: 64 };
export const dataset = () => flatDigits("train");
export const validation = () => flatDigits("test");
export const goal: Goal = {
  figure: "loss",
  atMost: 111,
  baseline: { name: "pixels drawn one by one, as often white as in the digits to learn from, in nats", value: 206.3 },
};

/** Digits out of random codes, and in the last rows the way from one digit's code to another's. */
export async function show(session: Session) {
  const noise = randomOf(7);
  const random = Float32Array.from({ length: 40 * latent }, () => noise.normal());
  const { x } = await flatDigits("test");
  const { z } = await session.encode({ x: { ...x, shape: [4, 784], data: x.data.subarray(0, 4 * 784) } });
  const codes = floats(z);
  const ways = [0, 2].flatMap((from) =>
    Array.from({ length: 10 }, (_, i) =>
      Array.from(
        { length: latent },
        (_, j) => codes[from * latent + j]! * (1 - i / 9) + codes[(from + 1) * latent + j]! * (i / 9),
      ),
    ).flat(),
  );
  const made = await session.predict({
    z: { dtype: "f32", shape: [60, latent], data: Float32Array.from([...random, ...ways]) },
  });
  return { "digits.png": grid(floats(made.x), { size: [28, 28], columns: 10 }) };
}
