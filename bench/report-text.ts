/** The figures of a run as text. */

import {
  answeredOf,
  comparisons,
  geomean,
  groupTitles,
  medianOf,
  type Results,
  type Row,
  ranked,
  ratioOf,
} from "./results.js";

const ms = (x: number | undefined): string => (x === undefined ? "–" : x.toFixed(x < 1 ? 3 : x < 100 ? 2 : 1));
const times = (x: number | undefined): string => (x === undefined ? "–" : `${x.toFixed(2)}×`);
const width = (ids: readonly string[]) => Math.max(...ids.map((id) => id.length)) + 2;

export const heading = (ids: readonly string[]): string =>
  `${"median ms".padEnd(22)}${ids.map((id) => id.padStart(width(ids))).join("")}`;

/** A row while the run goes on. */
export function line(row: Row, ids: readonly string[]): string {
  const cells = ids.map((id) => (row.engines[id]?.failed ? "failed" : ms(medianOf(row, id))).padStart(width(ids)));
  const speeds = comparisons.flatMap((pair) => {
    const ratio = ratioOf(row, pair);
    return ratio === undefined ? [] : `${times(ratio)} ${pair[1]}`;
  });
  return `${row.model.padEnd(22)}${cells.join("")}   ${speeds.join(", ")}`;
}

/** Answers that differ from onnxruntime's by more than they may, and engines that failed. */
export const problems = (rows: readonly Row[]): readonly string[] =>
  rows.flatMap((row) =>
    Object.entries(row.engines).flatMap(([id, { speed, failed }]) => {
      if (failed !== undefined) return [`${row.model} on ${id}: ${failed}`];
      const error = Math.max(0, ...speed.map((s) => s.error));
      return error <= row.tolerance ? [] : [`${row.model} on ${id}: the answer is off by ${error.toExponential(1)}`];
    }),
  );

/** By groups and comparisons: all ratios, worst last, and their geometric means. */
export function summary({ rows, machine, settings, versions }: Results): string {
  const parts: string[] = [
    `${machine}; ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}`,
    `${settings.rounds} rounds, best medians after ${settings.warmUpMs / 1000} s of warm-up`,
  ];
  for (const threads of [...new Set(rows.map((r) => r.threads))])
    for (const group of Object.keys(groupTitles) as Row["group"][]) {
      const chosen = rows.filter((r) => r.group === group && r.threads === threads);
      for (const pair of comparisons) {
        const list = ranked(chosen, pair);
        if (list.length === 0) continue;
        const starts = ranked(chosen, pair, answeredOf);
        const mean = geomean(list.map((l) => l.ratio));
        parts.push(
          `\n${groupTitles[group]}, ${threads} thread${threads === 1 ? "" : "s"}: ${pair[0]} against ${pair[1]}, geomean ${times(mean)}` +
            (starts.length === 0 ? "" : `, load and first answer ${times(geomean(starts.map((s) => s.ratio)))}`),
          ...list.map(
            ({ row, ratio }) =>
              `  ${row.model.padEnd(22)} ${times(ratio).padStart(8)} ${ms(medianOf(row, pair[0])).padStart(10)} ${ms(medianOf(row, pair[1])).padStart(10)} ms`,
          ),
        );
      }
    }
  return parts.join("\n");
}
