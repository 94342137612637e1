/** What there is to draw of a training: charts, for pages and drawings. */
import type { EpochEvent } from "./events.js";
import type { Curve } from "./history.js";

/** A point of a line; the line breaks off where y is null. */
export type Point = readonly [x: number, y: number | null];

export interface Chart {
  readonly title: string;
  /** What runs along the horizontal axis. */
  readonly axis: string;
  /** Points of each line by its name. What is not finite is not drawn. */
  readonly lines: Readonly<Record<string, readonly Point[]>>;
  /** Names of the lines whose points are not joined. */
  readonly dots?: readonly string[];
  /** Values grow by factors along the vertical axis; those that are not positive are not drawn. */
  readonly logarithmic?: boolean;
  /** A unit is as long down as across. */
  readonly equalUnits?: boolean;
}

/** Text as it stands in a page or a drawing. */
export const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);

/** What is not finite has no place in a chart. */
const present = (value: number | null | undefined): number | null => (Number.isFinite(value) ? value! : null);

/** What there is to draw: measures over epochs, losses of batches, rate, time. */
export function chartsOf(epochs: readonly EpochEvent[], { stride, losses }: Curve): Chart[] {
  const over = (
    title: string,
    named: Readonly<Record<string, (e: EpochEvent) => number | null | undefined>>,
  ): Chart => ({
    title,
    axis: "epoch",
    lines: Object.fromEntries(
      Object.entries(named).map(([label, value]) => [label, epochs.map((e) => [e.epoch, present(value(e))] as const)]),
    ),
  });
  const names = [...new Set(epochs.flatMap((e) => Object.keys(e.metrics)))];
  const batches: Chart = {
    title: stride === 1 ? "Loss of each batch" : `Loss of batches, means of ${stride}`,
    axis: "batch",
    lines: { training: losses.map((loss, i) => [i * stride, present(loss)] as const) },
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
  const isSeen = (line: readonly Point[]) => line.some(([, y]) => y !== null);
  return all
    .map((c) => ({ ...c, lines: Object.fromEntries(Object.entries(c.lines).filter(([, line]) => isSeen(line))) }))
    .filter((c) => Object.keys(c.lines).length > 0);
}
