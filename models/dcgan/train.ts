/** Trains generator and discriminator on handwritten digits of 16×16 pixels: `wasmith train models/dcgan`. */

import { F, optim, program, type SessionOf, schedules, type TrainRun, type Value } from "wasmith";
import { dataset, randomOf } from "wasmith/data";
import { smallDigits } from "../data/digits.js";
import { frechet } from "../judge.js";
import { grid } from "../pictures.js";
import { floats, numbers } from "../values.js";
import { discriminator, generator, small } from "./model.js";

const { latent } = small;
const G = generator(small);
const D = discriminator(small);
/** The mean of the generator's weights over the last hundreds of steps, which makes better pictures: the game itself goes in circles. */
const average = generator(small);

/** Rounds of 50 steps, of which four see all digits once. */
export const fit = { epochs: 32, batchSize: 50 };
const stepsOfRound = 50;
/** Steps in all. */
const steps = fit.epochs * stepsOfRound;

/**
 * Two time scales: the discriminator learns faster than the generator, so that one step of each is enough.
 * Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017.
 */
const slow = schedules.warmupCosine(5e-4, 50, steps);
const fast = schedules.warmupCosine(1.25e-3, 50, steps);
const betas = [0.5, 0.999] as const;

/** Which digits are meant, as channels [batch, 10, 1, 1] beside those of x, over its height and width. */
function told(x: Value, y: Value): Value {
  const kinds = F.oneHot(y, 10).unsqueeze(2, 3);
  return F.cat([x, F.onesLike(x.narrow(1, 0, 1)).mul(kinds)], 1);
}

const digit = { dtype: "i32", shape: ["count"] } as const;

const dcganProgram = program(
  { G, D, average },
  {
    learn: {
      inputs: { x: ["count", 1, 16, 16], y: digit },
      run(ctx, { x, y }) {
        const bce = F.binaryCrossEntropyWithLogits;
        const fake = G(ctx, told(F.randn(ctx, [x.type.shape[0]!, latent, 1, 1]), y));
        const [yes, no] = [D(ctx, told(x, y)), D(ctx, told(fake.detach(), y))];
        const telling = bce(yes, F.onesLike(yes)).add(bce(no, F.zerosLike(no)));
        ctx.minimize(telling, D, optim.Adam({ betas }), { schedule: fast });
        // D has learnt: from here on it is another.
        const believed = D(ctx, told(fake, y));
        const fooling = bce(believed, F.onesLike(believed));
        ctx.minimize(fooling, G, optim.Adam({ betas }), { schedule: slow });
        ctx.blend(G, average, 0.01);
        return { loss: fooling, discriminator: telling };
      },
    },
    generate: {
      inputs: { z: ["count", latent, 1, 1], y: digit },
      training: false,
      run: (ctx, { z, y }) => ({ x: average(ctx, told(z, y)) }),
    },
    discriminate: {
      inputs: { x: ["count", 1, 16, 16], y: digit },
      training: false,
      run: (ctx, { x, y }) => ({ real: F.sigmoid(D(ctx, told(x, y))) }),
    },
  },
);
export default dcganProgram;
type Session = SessionOf<typeof dcganProgram>;

export async function train(session: Session, { epochs: rounds, seed, report }: TrainRun) {
  const digits = dataset(await smallDigits("train"));
  const batches = digits.shuffle({ seed }).batch(fit.batchSize, { dtypes: { y: "i32" } });
  let sums = { loss: 0, discriminator: 0 };
  let step = 0;
  for await (const batch of batches
    .repeat(rounds)
    .take(rounds * stepsOfRound)
    .epoch(0)) {
    const { loss, discriminator } = numbers(await session.run(batch, { entry: "learn" }));
    sums = {
      loss: sums.loss + loss! / stepsOfRound,
      discriminator: sums.discriminator + discriminator! / stepsOfRound,
    };
    if (++step % stepsOfRound > 0) continue;
    await report(sums);
    sums = { loss: 0, discriminator: 0 };
  }
}

/** Digits from 0 to 9 in turn. */
async function generated(session: Session, count: number, seed: number) {
  const random = randomOf(seed);
  const z = Float32Array.from({ length: count * latent }, () => random.normal());
  const { x } = await session.generate({ z, y: Int32Array.from({ length: count }, (_, i) => i % 10) });
  return { dtype: "f32" as const, shape: [count, 1, 16, 16], data: floats(x) };
}

export { frechetGoal as goal } from "../judge.js";
export const measure = async (session: Session) => ({ frechet: await frechet(await generated(session, 2000, 1)) });

export async function show(session: Session) {
  const { data } = await generated(session, 60, 7);
  return { "digits.png": grid(data, { size: [16, 16], columns: 10, range: [-1, 1], scale: 3 }) };
}
