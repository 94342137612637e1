/** Learns to say what scenes of digits show: `wasmith train models/captioning`. */

import { F, type Goal, optim, program, type SessionOf, schedules, type TrainRun } from "wasmith";
import { dataset, Vocabulary } from "wasmith/data";
import { greedy } from "../decoding.js";
import { floats, integers, numbers } from "../values.js";
import { Captioner } from "./model.js";
import { attended, captioned } from "./picture.js";
import { half, names, type Scene, scenes, side, singles } from "./scenes.js";

const vocabulary = Vocabulary.build([`a small large above left of ${names.join(" ")}`], { special: ["<s>", "</s>"] });
const limits = { kinds: vocabulary.size, begin: 2, end: 3, most: 10 };

const batchSize = 32;
/** Single digits that the eye learns from first, and scenes of each round. */
const learnt = { singles: 20_000, scenes: 4000 };
export const fit = { epochs: 16 };
const captioner = new Captioner({ side, kinds: vocabulary.size });
const rates = {
  look: schedules.warmupCosine(3e-3, 100, learnt.singles / batchSize),
  step: schedules.warmupCosine(2e-3, 100, (fit.epochs * learnt.scenes) / batchSize),
};
const picture = ["batch", 1, side, side] as const;

const captioning = program(
  { captioner },
  {
    /** The eye learns to tell digits. */
    look: {
      inputs: { x: ["batch", 1, half, half], y: "i32[batch]" },
      run(ctx, { x, y }) {
        const loss = F.crossEntropy(captioner.eye.tell(ctx, x), y);
        return { loss: ctx.minimize(loss, captioner.eye, optim.Adam(), { schedule: rates.look }) };
      },
    },
    step: {
      inputs: { picture, words: "i32[batch,words]" },
      run(ctx, { picture, words }) {
        // Each word is told by the picture and by the words before it. What follows the end does not count.
        const { logits } = captioner(ctx, picture, words.slice(1, 0, -1));
        const loss = F.crossEntropy(logits.transpose(), words.slice(1, 1), { ignoreIndex: 0 });
        const how = { schedule: rates.step, clip: optim.clipNorm(1) };
        return { loss: ctx.minimize(loss, captioner, optim.Adam(), how) };
      },
    },
    tell: {
      inputs: { x: ["batch", 1, half, half] },
      training: false,
      run: (ctx, { x }) => ({ digit: F.argMax(captioner.eye.tell(ctx, x), -1) }),
    },
    caption: {
      inputs: { picture },
      training: false,
      run: (ctx, { picture }) => ({ text: greedy(captioner.decoder(ctx, picture), limits) }),
    },
    predict: {
      inputs: { picture, words: "i32[batch,words]" },
      training: false,
      run: (ctx, { picture, words }) => captioner(ctx, picture, words),
    },
  },
);
export default captioning;
type Session = SessionOf<typeof captioning>;

export const goal: Goal = {
  figure: "right",
  atLeast: 0.86,
  baseline: { name: "ink in each quarter, softmax regression on it, and a template", value: 0.788 },
};

const pictureOf = ({ picture: data }: Scene) => ({ dtype: "f32" as const, shape: [1, side, side], data });
const marks = { begin: "<s>", end: "</s>" };

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const digits = dataset(await singles("train", learnt.singles, seed));
  for await (const batch of digits.batch(batchSize, { dtypes: { y: "i32" } }))
    await session.run(batch, { entry: "look" });
  for (let epoch = 0; epoch < epochs; epoch++) {
    const samples = (await scenes("train", learnt.scenes, seed * 1000 + epoch)).map((scene) => ({
      picture: pictureOf(scene),
      words: vocabulary.encode(scene.caption, marks),
    }));
    let sum = 0;
    for await (const batch of dataset(samples).batch(batchSize, { pad: { words: 0 } }))
      sum += numbers(await session.run(batch, { entry: "step" })).loss!;
    await report({ loss: (sum * batchSize) / learnt.scenes });
  }
}

/** What the model says of scenes. */
async function captions(session: Session, of: readonly Scene[]): Promise<string[]> {
  const data = Float32Array.from(of.flatMap(({ picture }) => [...picture]));
  const { text } = await session.caption({ picture: { dtype: "f32", shape: [of.length, 1, side, side], data } });
  const tokens = Array.from(integers(text), Number);
  return of.map((_, i) => {
    const row = tokens.slice(i * limits.most, (i + 1) * limits.most);
    const end = row.indexOf(limits.end);
    return vocabulary.decode(end < 0 ? row : row.slice(0, end)).join(" ");
  });
}

/** A caption with the names of digits left out. */
const formOf = (caption: string) => caption.replaceAll(new RegExp(names.join("|"), "g"), "digit");

/** Shares of scenes, of digits that were not learnt from, whose caption is right from the first word to the last. */
export async function measure(session: Session) {
  const test = await scenes("test", 500, 7);
  const said = await captions(session, test);
  const share = (of: (caption: string) => string) =>
    said.filter((caption, i) => of(caption) === of(test[i]!.caption)).length / said.length;
  const digits = await singles("test", 1000, 7);
  const pixels = Float32Array.from(digits.flatMap(({ x }) => [...x.data]));
  const { digit } = await session.tell({ x: { dtype: "f32", shape: [digits.length, 1, half, half], data: pixels } });
  const told = integers(digit);
  const digitRight = digits.filter(({ y }, i) => y === Number(told[i])).length / digits.length;
  return { right: share((caption) => caption), formRight: share(formOf), digitRight };
}

/** Scenes and what the model says of them, and where it looked at each word of some. */
export async function show(session: Session) {
  const shown = await scenes("test", 15, 8);
  const said = await captions(session, shown);
  const rows = [];
  for (const [i, scene] of shown.slice(0, 4).entries()) {
    const words = vocabulary.encode(said[i]!, { begin: "<s>" });
    const { attention } = await session.predict({
      picture: { ...pictureOf(scene), shape: [1, 1, side, side] },
      words: { dtype: "i32", shape: [1, words.length], data: words },
    });
    // The last look leads to the end.
    rows.push({ scene, words: [...said[i]!.split(" "), "(end)"], attention: floats(attention) });
  }
  return { "captions.svg": captioned(shown, said), "attention.svg": attended(rows) };
}
