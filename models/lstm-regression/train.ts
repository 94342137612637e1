/** Trains the LSTM stack to predict how many bicycles are rented in the next hour: `wasmith train models/lstm-regression`. */

import { type Goal, losses, metrics, optim, trainStep } from "wasmith";
import { dataset, readCsv } from "wasmith/data";
import type { TrainingSession } from "wasmith/runtime";
import { LstmStack } from "./model.js";

/** Hours that the model sees, and rows of the table before those that it is measured on. */
const steps = 24;
const known = 14_000;
/** Bicycles that stand for 1. */
export const unit = 220;

type Row = Readonly<
  Record<"hr" | "weekday" | "workingday" | "weathersit" | "temp" | "hum" | "windspeed" | "mnth" | "cnt", number>
>;

/** Hour and month as angles, so that 23 and 0 are neighbours. */
function features(row: Row): readonly number[] {
  const [hour, month] = [(row.hr / 24) * 2 * Math.PI, (row.mnth / 12) * 2 * Math.PI];
  const clock = [
    Math.sin(hour),
    Math.cos(hour),
    Math.sin(2 * hour),
    Math.cos(2 * hour),
    Math.sin(month),
    Math.cos(month),
  ];
  const day = [row.workingday, row.weekday === 0 ? 1 : 0, row.weekday === 6 ? 1 : 0];
  return [row.cnt / unit, ...clock, ...day, row.weathersit / 4, row.temp, row.hum, row.windspeed];
}

export const width = 14;

/** Windows of `steps` hours; each row also has the calendar and weather of the hour after it, but not its bicycles. */
async function hours(from: number, to: number) {
  const rows = (await readCsv(new URL("./data/hour.csv.gz", import.meta.url))) as unknown as readonly Row[];
  const all = rows.map(features);
  const table = Float32Array.from(rows.slice(0, -1).flatMap((_, i) => [...all[i]!, ...all[i + 1]!.slice(1)]));
  const row = 2 * width - 1;
  const places = Array.from(
    { length: Math.min(to, rows.length) - Math.max(from, steps) },
    (_, i) => Math.max(from, steps) + i,
  );
  return dataset(places).map((at) => ({
    x: { dtype: "f32" as const, shape: [steps, row], data: table.subarray((at - steps) * row, at * row) },
    y: Float32Array.of(rows[at]!.cnt / unit),
  }));
}

export const fit = { epochs: 20, batchSize: 32 };
const training = async () => (await hours(0, known)).shuffle({ seed: 1 });

export { training as dataset };
export const validation = () => hours(known, Infinity);

/** Error in bicycles. */
export async function measure(session: TrainingSession) {
  const { metrics } = await session.evaluate(await validation());
  return { rmse: metrics.rmse! * unit };
}
export const goal: Goal = {
  figure: "rmse",
  atMost: 55,
  baseline: { name: "as many as in the last hour", value: 129.4 },
};

export default trainStep(new LstmStack(2 * width - 1), {
  inputs: { x: ["batch", steps, 2 * width - 1] },
  targets: { y: ["batch", 1] },
  loss: losses.mse(),
  optimizer: optim.Adam({ lr: 1e-3 }),
  /** In units of `unit` bicycles. */
  metrics: { rmse: metrics.rootMeanSquaredError() },
});
