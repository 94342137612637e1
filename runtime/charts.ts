/** What a history has to draw, for its page and its drawing. */
import type { EpochEvent } from "./fit.js";
import type { Curve } from "./history.js";

export interface Series {
  readonly label: string;
  readonly values: readonly (number | null)[];
}
export interface Chart {
  readonly title: string;
  readonly axis: string;
  readonly x: readonly number[];
  readonly series: readonly Series[];
}

/** Text as it stands in a page or a drawing. */
export const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);

/** What is not finite has no place in a chart. */
const point = (value: number | null | undefined): number | null => (Number.isFinite(value) ? value! : null);

/** What there is to draw: measures over epochs, losses of batches, rate, time. */
export function chartsOf(epochs: readonly EpochEvent[], { stride, losses }: Curve): Chart[] {
  const x = epochs.map((e) => e.epoch);
  const over = (
    title: string,
    named: Readonly<Record<string, (e: EpochEvent) => number | null | undefined>>,
  ): Chart => ({
    title,
    axis: "epoch",
    x,
    series: Object.entries(named).map(([label, value]) => ({ label, values: epochs.map((e) => point(value(e))) })),
  });
  const names = [...new Set(epochs.flatMap((e) => Object.keys(e.metrics)))];
  const batches: Chart = {
    title: stride === 1 ? "Loss of each batch" : `Loss of batches, means of ${stride}`,
    axis: "batch",
    x: losses.map((_, i) => i * stride),
    series: [{ label: "training", values: losses.map(point) }],
  };
  const all = [
    over("Loss", { training: (e) => e.loss, validation: (e) => e.validation?.loss }),
    ...names.map((name) =>
      over(name, { training: (e) => e.metrics[name], validation: (e) => e.validation?.metrics[name] }),
    ),
    batches,
    over("Learning rate", { rate: (e) => e.learningRate }),
    over("Seconds of an epoch", { seconds: (e) => e.seconds }),
  ];
  const isSeen = ({ values }: Series) => values.some((v) => v !== null);
  return all.map((c) => ({ ...c, series: c.series.filter(isSeen) })).filter((c) => c.series.length > 0);
}
