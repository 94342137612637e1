/** How a translator is trained, measured and shown: the same for each that tells characters and writes texts. */

import { F, type nn, optim, program, type SessionOf, schedules, type Value } from "wasmith";
import { dataset } from "wasmith/data";
import { bleu, nearest } from "../bleu.js";
import { chinese, english, limits, textOf, translations } from "../data/translations.js";
import { beam, type Decoder, greedy } from "../decoding.js";
import { attentionMap } from "../drawings.js";
import { floats, integers } from "../values.js";

/** Logits [batch, characters, kinds] of what comes behind each character, and where the model looked [batch, characters, words]. */
export type Told = { readonly logits: Value; readonly attention: Value };
export type Translating = nn.Module<readonly [source: Value, target: Value], Told> & {
  decoder(ctx: nn.Context, source: Value, beams?: number): Decoder;
};

const batchSize = 64;
const beams = 4;
const train = translations("train");
const test = translations("test");
const pair = { source: "i32[batch,words]", target: "i32[batch,characters]" } as const;

export interface Training {
  readonly rate: number;
  readonly warmup: number;
  readonly epochs: number;
}

export function translating(translator: Translating, { rate, warmup, epochs }: Training) {
  const adam = optim.Adam({ betas: [0.9, 0.98] });
  const schedule = schedules.warmupCosine(rate, warmup, epochs * Math.ceil(train.length / batchSize));
  return program(
    { translator },
    {
      step: {
        inputs: pair,
        run(ctx, { source, target }) {
          // Each character is told by those before it. What follows the end does not count.
          const { logits } = translator(ctx, source, target.slice(1, 0, -1));
          const loss = F.crossEntropy(logits.transpose(), target.slice(1, 1), { ignoreIndex: 0, labelSmoothing: 0.1 });
          return { loss: ctx.minimize(loss, translator, adam, { schedule, clip: optim.clipNorm(1) }) };
        },
      },
      predict: { inputs: pair, training: false, run: (ctx, { source, target }) => translator(ctx, source, target) },
      greedy: {
        inputs: { source: pair.source },
        training: false,
        run: (ctx, { source }) => ({ text: greedy(translator.decoder(ctx, source), limits) }),
      },
      beam: {
        inputs: { source: "i32[1,words]" },
        training: false,
        run: (ctx, { source }) => beam(translator.decoder(ctx, source, beams), limits, beams),
      },
    },
  );
}
type Session = SessionOf<ReturnType<typeof translating>>;

/** Batches of sentences of like lengths. */
export const batches = () =>
  dataset(train.map(({ source, target }) => ({ source, target })))
    .shuffle({ seed: 1 })
    .bucket({ by: "target", bounds: [7, 8, 9, 10, 11, 12, 14], size: batchSize, pad: { source: 0, target: 0 } });

/** One sentence as a batch. */
const row = (data: Int32Array) => ({ dtype: "i32" as const, shape: [1, data.length], data });
const sentences = [...new Set(test.map((p) => p.english))];
const textsOf = (numbers: BigInt64Array) =>
  Array.from({ length: numbers.length / limits.most }, (_, i) =>
    textOf(Array.from(numbers.subarray(i * limits.most, (i + 1) * limits.most), Number)),
  );

/** The most probable translation, as far as the beam saw. */
async function translated(session: Session, sentence: string): Promise<string> {
  const { text, score } = await session.beam({ source: row(english.encode(sentence)) });
  const scores = floats(score);
  return textsOf(integers(text))[scores.indexOf(Math.max(...scores))]!;
}

/** How near translations of sentences that were not learnt from come to those by people. */
export async function measure(session: Session) {
  const references = sentences.map((s) => test.filter((p) => p.english === s).map((p) => p.chinese));
  const greedily: string[] = [];
  const byBeam: string[] = [];
  for (const sentence of sentences) {
    const { text } = await session.greedy({ source: row(english.encode(sentence)) });
    greedily.push(...textsOf(integers(text)));
    byBeam.push(await translated(session, sentence));
  }
  return {
    beamBleu: bleu(byBeam, references),
    greedyBleu: bleu(greedily, references),
    nearestBleu: bleu(nearest(train, sentences), references),
  };
}

/** Translations, and where the model looked at each character of one. */
export async function show(session: Session) {
  const lines: string[] = [];
  for (let i = 0; i < test.length; i += Math.ceil(test.length / 16)) {
    const { english: sentence, chinese: reference } = test[i]!;
    lines.push(`${sentence}\n  model: ${await translated(session, sentence)}\n  person: ${reference}`);
  }
  const { english: sentence, source } = test.find((p) => p.source.length === 7)!;
  const target = chinese.encode(await translated(session, sentence), { begin: "<s>", end: "</s>" });
  const { attention } = await session.predict({ source: row(source), target: row(target.slice(0, -1)) });
  return {
    "attention.svg": attentionMap(floats(attention), {
      columns: english.decode(source),
      rows: chinese.decode(target.slice(1)),
    }),
    "translations.txt": `${lines.join("\n")}\n`,
  };
}
