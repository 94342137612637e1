/** Learns which picture has which name, and finds names that it never saw with a picture: `wasmith train models/clip`. */

import { type Goal, nn, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { randomOf } from "wasmith/data";
import { grid } from "../pictures.js";
import { argMax, floats } from "../values.js";
import { Clip, contrastive, pictureTower, TextTower } from "./model.js";
import { length, names, pictures, seen, spelled, unseen } from "./numbers.js";

const clip = new Clip(pictureTower(), new TextTower());
/** The same with nothing but linear maps: of the pixels, and of the characters at their places. */
const letters = nn.sequential(nn.Embedding(28, 16), nn.Flatten(), nn.Linear(16 * length, 64));
const linear = new Clip(nn.sequential(nn.Flatten(), nn.Linear(14 * 28, 64)), letters);

const inputs = { picture: ["pictures", 1, 14, 28], text: { dtype: "i32", shape: ["texts", length] } } as const;

const pairs = program(
  { clip, linear },
  {
    learn: {
      inputs: { picture: ["pairs", 1, 14, 28], text: { dtype: "i32", shape: ["pairs", length] } },
      run(ctx, { picture, text }) {
        const step = (towers: Clip) =>
          ctx.minimize(contrastive(towers(ctx, picture, text)), towers, optim.Adam({ lr: 2e-3 }));
        return { loss: step(clip), linear: step(linear) };
      },
    },
    compare: {
      inputs,
      run: (ctx, { picture, text }) => ({ clip: clip(ctx, picture, text), linear: linear(ctx, picture, text) }),
    },
  },
);
export default pairs;
type Session = SessionOf<typeof pairs>;

const stepsOfEpoch = 50;

export const fit = { epochs: 20 };
export const goal: Goal = {
  figure: "unseen",
  atLeast: 0.85,
  baseline: { name: "linear maps of pixels and letters, trained on the same", value: 0.663 },
};

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const random = randomOf(seed);
  const draw = await pictures("train");
  const text = spelled(seen);
  for (let epoch = 0; epoch < epochs; epoch++) {
    let sum = 0;
    // One picture of each number: no other text of the batch is right.
    for (let i = 0; i < stepsOfEpoch; i++)
      sum += Number((await session.learn({ picture: draw(seen, random), text })).loss);
    await report({ loss: sum / stepsOfEpoch });
  }
}

const all = names.map((_, n) => n);

/** Shares of pictures whose name is found among all hundred: of numbers that were not seen in training, and of the others. */
export async function measure(session: Session) {
  const draw = await pictures("test");
  const text = spelled(all);
  const share = async (numbers: readonly number[]) => {
    const random = randomOf(5);
    const asked = Array.from({ length: 20 }, () => numbers).flat();
    const said = await session.compare({ picture: draw(asked, random), text });
    const right = (likeness: Float32Array) =>
      argMax(likeness, 100).filter((n, i) => n === asked[i]).length / asked.length;
    return { clip: right(floats(said.clip)), linear: right(floats(said.linear)) };
  };
  const [fresh, known] = [await share(unseen), await share(seen)];
  return { unseen: fresh.clip, unseenLinear: fresh.linear, seen: known.clip, seenLinear: known.linear };
}

/** For each name that was not seen with a picture, the pictures that are nearest to it, of 600. */
export async function show(session: Session) {
  const picture = (await pictures("test"))(Array.from({ length: 6 }, () => all).flat(), randomOf(9));
  const likeness = floats((await session.compare({ picture, text: spelled(unseen) })).clip);
  const shown = unseen.slice(0, 8).flatMap((_, text) =>
    Array.from({ length: 600 }, (_, i) => i)
      .sort((a, b) => likeness[b * unseen.length + text]! - likeness[a * unseen.length + text]!)
      .slice(0, 6),
  );
  const pixels = shown.flatMap((i) => Array.from(picture.subarray(i * 14 * 28, (i + 1) * 14 * 28)));
  return {
    "found.png": grid(pixels, { size: [14, 28], columns: 6, scale: 3 }),
    "found.txt": `Rows of found.png:\n${unseen
      .slice(0, 8)
      .map((n) => `${names[n]}: numbers ${shown.splice(0, 6).map((i) => i % 100)}`)
      .join("\n")}\n`,
  };
}
