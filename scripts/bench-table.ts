/**
 * Writes the benchmark table of README.md from the figures of a run: `npx tsx scripts/bench-table.ts FIGURES.json`, where the figures are what
 * `npm run bench -- --json FIGURES.json` wrote.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { problems } from "../bench/report-text.js";
import {
  answeredOf,
  geomean,
  groupTitles,
  medianOf,
  type Results,
  type Row,
  ranked,
  ratioOf,
} from "../bench/results.js";
import { between } from "./marks.js";

const ours = "wasmith@node";
const web = "ort-web@node";
const native = "ort-node@node";

const ms = (x: number | undefined): string => (x === undefined ? "" : x.toFixed(x < 1 ? 3 : x < 100 ? 1 : 0));
const times = (x: number | undefined): string => (x === undefined ? "" : `${x.toFixed(2)}×`);

/** A column, where anything of it was measured. */
interface Column {
  readonly title: string;
  readonly cell: (row: Row) => string;
  readonly mean?: string;
}

function table(rows: readonly Row[], group: Row["group"]): string {
  const list = ranked(
    rows.filter((r) => r.group === group),
    [ours, web],
  );
  const ratios = new Map(list.map(({ row, ratio }) => [row, ratio]));
  const answered = (row: Row) => [answeredOf(row, ours), answeredOf(row, web)].map((x) => x?.toFixed(0) ?? "");
  const firsts = list.flatMap(({ row }) => ratioOf(row, [ours, web], answeredOf) ?? []);
  const columns: readonly Column[] = [
    { title: groupTitles[group], cell: (row) => row.model, mean: `**geometric mean of ${list.length}**` },
    { title: "wasmith, ms", cell: (row) => ms(medianOf(row, ours)) },
    { title: "onnxruntime-web, ms", cell: (row) => ms(medianOf(row, web)) },
    { title: "", cell: (row) => times(ratios.get(row)), mean: `**${times(geomean([...ratios.values()]))}**` },
    { title: "native onnxruntime, ms", cell: (row) => ms(medianOf(row, native)) },
    {
      title: "load + first answer, ms",
      cell: (row) => (answered(row).some((x) => x !== "") ? answered(row).join(" / ") : ""),
      ...(firsts.length > 0 ? { mean: times(geomean(firsts)) } : {}),
    },
  ];
  const shown = columns.filter(({ cell }) => list.some(({ row }) => cell(row) !== ""));
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(shown.map((c) => c.title)),
    `|${"---|".repeat(shown.length)}`,
    ...list.map(({ row }) => line(shown.map((c) => c.cell(row)))),
    line(shown.map((c) => c.mean ?? "")),
  ].join("\n");
}

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("which figures? npx tsx scripts/bench-table.ts FIGURES.json");
const { machine, versions, settings, measured, rows } = JSON.parse(readFileSync(path, "utf8")) as Results;
// Speed of wrong answers says nothing.
const wrong = problems(rows);
if (wrong.length > 0) throw new Error(`measure these again:\n${wrong.join("\n")}`);
const chosen = rows.filter((r) => r.threads === 1 && ratioOf(r, [ours, web]) !== undefined);
const groups = (Object.keys(groupTitles) as Row["group"][]).filter((g) => chosen.some((r) => r.group === g));
const days = measured[0] === measured[1] ? measured[0] : `${measured[0]} to ${measured[1]}`;
const text = `${machine}, ${days}; ${versions.node}, baseline SIMD, one thread; onnxruntime-web ${versions["ort-web"]}, native ${versions["ort-node"]}.
Medians after ${settings.warmUpMs / 1000} s of warm-up, the best of ${settings.rounds} round${settings.rounds === 1 ? "" : "s"}; × is how many times as fast wasmith is as onnxruntime-web. Worst rows
last.

${groups.map((group) => table(chosen, group)).join("\n\n")}
`;
const readme = new URL("../README.md", import.meta.url);
const of = { document: "README.md", script: "scripts/bench-table.ts" };
writeFileSync(readme, between(readFileSync(readme, "utf8"), of, "benchmarks", text));
