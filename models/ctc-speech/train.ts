/** Learns to write down spoken digits, several in a row: `wasmith train models/ctc-speech`. */

import { F, type Goal, optim, program, type SessionOf, schedules } from "wasmith";
import { dataset as dataSet } from "wasmith/data";
import { bands, logMel, recordings } from "../data/spoken.js";
import { floats, integers, tensorOf } from "../values.js";
import { prefixBeam } from "./beam.js";
import { ctcLoss, greedy, SpeechNet } from "./model.js";
import { drawn } from "./picture.js";
import { digitError, type Utterance, unseen, utterance } from "./utterances.js";

/** Ten digits, behind the blank. */
const classes = 11;
const net = new SpeechNet({ bands, classes });

/** Rows of digits to learn from, others in each epoch. */
const count = 640;
const batchSize = 16;
export const fit = { epochs: 16 };
const schedule = schedules.warmupCosine(4e-3, 50, (fit.epochs * count) / batchSize);
const heard = { x: `f32[batch,time,${bands}]`, frames: "i32[batch]" } as const;

const speech = program(net, {
  step: {
    inputs: { ...heard, labels: "i32[batch,most]", lengths: "i32[batch]" },
    run(ctx, { x, frames, labels, lengths }) {
      const loss = ctcLoss(net(ctx, x, frames), frames, labels, lengths);
      return { loss: ctx.minimize(loss, net, optim.Adam(), { schedule, clip: optim.clipNorm(1) }) };
    },
  },
  transcribe: {
    inputs: heard,
    training: false,
    run: (ctx, { x, frames }) => ({ labels: greedy(net(ctx, x, frames), frames) }),
  },
  predict: {
    inputs: heard,
    training: false,
    run: (ctx, { x, frames }) => ({ probabilities: F.softmax(net(ctx, x, frames)) }),
  },
});
export default speech;
type Session = SessionOf<typeof speech>;

export const goal: Goal = {
  figure: "error",
  atMost: 0.037,
  baseline: { name: "dynamic time warping against the same recordings, joined", value: 0.0556 },
};

const features = ({ samples }: Utterance) => {
  const x = logMel(samples);
  return { dtype: "f32" as const, shape: [x.length / bands, bands], data: x };
};
const pad = { x: { value: 0, lengths: "frames" } };

export async function dataset() {
  const known = await recordings("train");
  return dataSet(Array.from({ length: count }, (_, row) => ({ row })))
    .map((_, { random }) => utterance(known, random, 0.15), { seed: 1 })
    .map((row) => ({ x: features(row), labels: Int32Array.from(row.digits, (digit) => digit + 1) }))
    .batch(batchSize, { pad: { ...pad, labels: { value: 0, lengths: "lengths" } } });
}

const digitsOf = (labels: Iterable<number | bigint>) =>
  Array.from(labels, (label) => Number(label) - 1).filter((digit) => digit >= 0);

/** What the network tells of rows: probabilities at each step, digits by the most probable way, and by the beam. */
async function transcribed(session: Session, rows: readonly Utterance[]) {
  const batch = await dataSet(rows.map((row) => ({ x: features(row) })))
    .batch(rows.length, { pad })
    .at(0);
  const labels = integers((await session.run(batch, { entry: "transcribe" })).labels);
  const all = floats((await session.run(batch, { entry: "predict" })).probabilities);
  const steps = labels.length / rows.length;
  const { data: frames } = tensorOf(batch.frames);
  return rows.map((_, i) => {
    const own = Math.ceil(Number(frames[i]) / 2);
    const probabilities = all.slice(i * steps * classes, (i * steps + own) * classes);
    return {
      probabilities,
      greedy: digitsOf(labels.subarray(i * steps, (i + 1) * steps)),
      beam: digitsOf(prefixBeam(probabilities, classes)),
    };
  });
}

/** Digits to put in, take out or change, for each that was said in 200 rows of recordings that were not learnt from. */
export async function measure(session: Session) {
  const rows = await unseen(200);
  const told = await transcribed(session, rows);
  const said = rows.map((row) => row.digits);
  return {
    error: digitError(
      said,
      told.map((row) => row.greedy),
    ),
    beamError: digitError(
      said,
      told.map((row) => row.beam),
    ),
    rowsRight: told.filter((row, i) => row.greedy.join() === said[i]!.join()).length / rows.length,
  };
}

/** When each digit of a row is told, and transcripts of others. */
export async function show(session: Session) {
  const rows = await unseen(16);
  const told = await transcribed(session, rows);
  const { probabilities, greedy } = told[0]!;
  const title = `said ${rows[0]!.digits.join(" ")}, told ${greedy.join(" ")}`;
  const lines = rows.map(({ digits }, i) => `said ${digits.join(" ")}, told ${told[i]!.greedy.join(" ")}`);
  return {
    "told.svg": drawn({ title, x: features(rows[0]!).data, probabilities, classes }),
    "transcripts.txt": `${lines.join("\n")}\n`,
  };
}
