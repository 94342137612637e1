/** Trains vectors of words on Shakespeare's plays: `wasmith train models/word2vec`. */

import { F, type Goal, optim, program, type SessionOf, type Tensor, type TrainRun } from "wasmith";
import { randomOf, tokenizer, Vocabulary } from "wasmith/data";
import { speeches } from "../data/shakespeare.js";
import { negativeSampling, SkipGram } from "./model.js";

/** Words on each side that count as near. */
const window = 4;
/** Words of noise for each true one. */
const negatives = 5;

const tokenize = tokenizer({ lowerCase: true, punctuation: "drop" });
const texts = (await speeches()).map(({ text }) => tokenize(text));
/** Every tenth speech is kept to measure on. */
const parts = { train: texts.filter((_, i) => i % 10 !== 0), test: texts.filter((_, i) => i % 10 === 0) };
export const vocabulary = Vocabulary.build(parts.train, { minCount: 5, padding: false, unknown: false });
const known = new Set(vocabulary.tokens);
/** Speeches as numbers of their words, those left out that are rare. */
const numbered = (part: "train" | "test") => parts[part].map((t) => vocabulary.encode(t.filter((w) => known.has(w))));

const counts = new Float64Array(vocabulary.size);
for (const speech of numbered("train")) for (const word of speech) counts[word]! += 1;
const total = counts.reduce((a, b) => a + b);

/** Word2vec's way to draw noise: a table that has each word as often as its frequency to the power ¾ says. */
const noiseTable = Int32Array.from(
  [...counts].flatMap((count, word) => Array<number>(Math.ceil(count ** 0.75)).fill(word)),
);

const model = new SkipGram({ vocabulary: vocabulary.size });
const adam = optim.SparseAdam({ lr: 3e-3 });
const pair = { center: "i32[batch]", context: "i32[batch]" } as const;

const word2vec = program(
  { model },
  {
    step: {
      inputs: pair,
      run(ctx, { center, context }) {
        const places = F.randint(ctx, 0, noiseTable.length, [center.type.shape[0]!, negatives]);
        const noise = F.take(F.constant(noiseTable, "i32"), places);
        // One look-up for all words of a pair, so that each row has one gradient.
        const logits = model(ctx, center, F.cat([context.unsqueeze(1), noise], 1));
        const loss = negativeSampling(logits.narrow(1, 0, 1), logits.narrow(1, 1, negatives));
        return { loss: ctx.minimize(loss, model, adam) };
      },
    },
    score: {
      inputs: pair,
      run: (ctx, { center, context }) => ({ score: model(ctx, center, context.unsqueeze(1)).squeeze(1) }),
    },
    neighbours: { inputs: { word: "i32[batch]" }, run: (ctx, { word }) => model.neighbours(ctx, word, 8) },
  },
);
export default word2vec;
type Session = SessionOf<typeof word2vec>;
const numbers = (output?: Tensor | number) => Array.from((output as Tensor).data, Number);

/**
 * Pairs of a word and one that stands near it. Frequent words say little of those around them: they are left out by chance,
 * the more the more frequent they are. Near words count more than far ones: each window has a random size.
 */
export function pairs(part: "train" | "test", { seed = 1, subsample = 1e-3 } = {}) {
  const random = randomOf(seed);
  const center: number[] = [];
  const context: number[] = [];
  for (const speech of numbered(part)) {
    const words = speech.filter((w) => random.chance(Math.sqrt((subsample * total) / counts[w]!)));
    words.forEach((word, i) => {
      const reach = 1 + random.integer(window);
      for (let j = Math.max(0, i - reach); j <= Math.min(words.length - 1, i + reach); j++)
        if (j !== i) {
          center.push(word);
          context.push(words[j]!);
        }
    });
  }
  const column = (words: readonly number[]) => ({
    dtype: "i32" as const,
    shape: [words.length],
    data: Int32Array.from(words),
  });
  return { center: column(center), context: column(context) };
}

export const fit = { epochs: 16, batchSize: 256 };

/** Draws pairs anew in each round. */
export async function train(session: Session, { epochs, seed, signal, report }: TrainRun) {
  for (let epoch = 0; epoch < epochs; epoch++) {
    const shuffle = seed + epoch;
    const learning = { epochs: 1, batchSize: fit.batchSize, shuffle, signal, progress: false };
    const history = await session.fit(pairs("train", { seed: shuffle }), learning);
    await report({ loss: history.at(-1)!.loss });
  }
}

export const goal: Goal = {
  figure: "auc",
  atLeast: 0.58,
  baseline: { name: "pointwise mutual information of the pairs counted", value: 0.566 },
};

/** How often a true pair of the speeches kept scores higher than the same centre with a word drawn by frequency. */
export async function measure(session: Session) {
  const { center, context } = pairs("test");
  const random = randomOf(2);
  const drawn = { ...context, data: context.data.map(() => context.data[random.integer(context.data.length)]!) };
  const near = await session.score({ center, context });
  const noise = await session.score({ center, context: drawn });
  return { auc: rankedRight(numbers(near.score), numbers(noise.score)) };
}

/** Share of places where the first is larger; equal ones count half. */
export const rankedRight = (near: ArrayLike<number>, noise: ArrayLike<number>) =>
  Array.from(near, (s, i) => (s > noise[i]! ? 1 : s === noise[i]! ? 0.5 : 0)).reduce((a: number, b) => a + b, 0) /
  near.length;

/** Words and those next to them. */
export async function show(session: Session) {
  const asked = ["king", "love", "death", "father", "sword", "night", "horse", "rome", "good", "come", "thy", "heart"];
  const { words } = await session.neighbours({ word: vocabulary.encode(asked) });
  const found = numbers(words);
  const lines = asked.map((word, i) => `${word}: ${vocabulary.decode(found.slice(i * 8 + 1, i * 8 + 8)).join(" ")}`);
  return { "neighbours.txt": `${lines.join("\n")}\n` };
}
