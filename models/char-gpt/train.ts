/** Trains a character GPT on given names: `wasmith train models/char-gpt`. */

import { F, type Goal, optim, program, type SessionOf, schedules, type Value } from "wasmith";
import { names, type Part } from "../data/names.js";
import { Gpt, sample } from "./model.js";

/** A point begins and ends each name. */
const letters = ".abcdefghijklmnopqrstuvwxyz";
/** The longest name has 15 letters. */
const context = 16;
/** Of targets behind the end, which do not count. */
const ignored = -100;

export const fit = { epochs: 12, batchSize: 64 };
const updates = fit.epochs * Math.ceil(28_829 / fit.batchSize);

const gpt = new Gpt({ vocabulary: letters.length, context });
const adam = optim.AdamW({ weightDecay: 0.01 });
const schedule = schedules.warmupCosine(3e-3, 200, updates);
const text = { x: `i32[batch,${context}]`, y: `i32[batch,${context}]` } as const;
const sampling = { temperature: "f32[]", topP: "f32[]" } as const;

const loss = (logits: Value, y: Value, reduction: "mean" | "sum") =>
  F.crossEntropy(logits.transpose(), y, { ignoreIndex: ignored, reduction });

const charGpt = program(
  { gpt },
  {
    step: {
      inputs: text,
      run: (ctx, { x, y }) => ({ loss: ctx.minimize(loss(gpt(ctx, x), y, "mean"), gpt, adam, { schedule }) }),
    },
    score: { inputs: text, run: (ctx, { x, y }) => ({ nats: loss(gpt(ctx, x), y, "sum") }) },
    predict: { inputs: { x: "i32[batch,steps]" }, dims: { steps: [1, context] }, run: (ctx, { x }) => gpt(ctx, x) },
    /** Reads the beginning of a name at once, and draws the next letter. */
    prefill: {
      inputs: { prompt: "i32[1,steps]", ...sampling },
      dims: { steps: [1, context] },
      run: (ctx, { prompt, temperature, topP }) => ({
        letter: sample(ctx, gpt.next(ctx, prompt, { fresh: true }), temperature, topP).squeeze(0),
      }),
    },
    /** Goes on by one letter. */
    decode: {
      inputs: { letter: "i32[1,1]", ...sampling },
      run: (ctx, { letter, temperature, topP }) => ({
        letter: sample(ctx, gpt.next(ctx, letter, { fresh: false }), temperature, topP).squeeze(0),
      }),
    },
  },
);
export default charGpt;
type Session = SessionOf<typeof charGpt>;

/** What is read at each step, and what comes next. */
async function rows(part: Part) {
  const all = await names(part);
  const x = new Int32Array(all.length * context);
  const y = new Int32Array(all.length * context).fill(ignored);
  all.forEach((name, row) => {
    const numbers = Array.from(`.${name}.`, (letter) => letters.indexOf(letter));
    x.set(numbers.slice(0, -1), row * context);
    y.set(numbers.slice(1), row * context);
  });
  const column = (data: Int32Array<ArrayBuffer>) => ({ dtype: "i32" as const, shape: [all.length, context], data });
  return { x: column(x), y: column(y) };
}

export const dataset = () => rows("train");
export const goal: Goal = {
  figure: "bitsPerCharacter",
  atMost: 2.83,
  baseline: { name: "interpolated 5-grams", value: 2.925 },
};

/** Bits for each letter and each end of the names that were kept. */
export async function measure(session: Session) {
  const test = await rows("test");
  const { nats } = await session.score(test);
  const characters = test.y.data.filter((y) => y !== ignored).length;
  return { bitsPerCharacter: Number(nats) / Math.LN2 / characters };
}

/** A name that begins as given. */
async function complete(session: Session, beginning: string, how: { temperature: number; topP: number }) {
  const settings = { temperature: Float32Array.of(how.temperature), topP: Float32Array.of(how.topP) };
  const prompt = Int32Array.from(`.${beginning}`, (letter) => letters.indexOf(letter));
  let name = beginning;
  let { letter } = await session.prefill({ prompt, ...settings });
  while (letter !== 0 && name.length < context - 1) {
    name += letters[Number(letter)];
    ({ letter } = await session.decode({ letter: Int32Array.of(Number(letter)), ...settings }));
  }
  return name;
}

/** Names made at several temperatures, and with the tail of improbable letters cut off. */
export async function show(session: Session) {
  const lines: string[] = [];
  for (const how of [
    { temperature: 0.5, topP: 1 },
    { temperature: 1, topP: 0.8 },
    { temperature: 1, topP: 1 },
    { temperature: 2, topP: 1 },
  ])
    for (const beginning of ["", "mar"]) {
      const made: string[] = [];
      for (let i = 0; i < 8; i++) made.push(await complete(session, beginning, how));
      lines.push(`temperature ${how.temperature}, top-p ${how.topP}: ${made.join(" ")}`);
    }
  return { "names.txt": `${lines.join("\n")}\n` };
}
