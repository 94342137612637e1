/** The figures of a run as a page of bars: one file, nothing loaded from elsewhere, light or dark as the reader's system. */

import {
  answeredOf,
  comparisons,
  geomean,
  groupTitles,
  medianOf,
  memoryOf,
  minimumOf,
  type Results,
  type Row,
  ranked,
} from "./results.js";

const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const ms = (x: number): string => `${x.toFixed(x < 1 ? 3 : x < 100 ? 2 : 1)} ms`;
const times = (x: number): string => `${x.toFixed(2)}×`;
const megabytes = (x: number | undefined): string => (x === undefined ? "" : `${(x / 1e6).toFixed(0)} MB`);

/** Engines in the order of the legend, whatever host they ran on. */
const engineOrder = ["wasmith", "ort-web", "ort-node"] as const;
const engineTitles: Readonly<Record<(typeof engineOrder)[number], string>> = {
  wasmith: "wasmith",
  "ort-web": "onnxruntime-web",
  "ort-node": "onnxruntime (native)",
};
const hostTitles: Readonly<Record<string, string>> = {
  node: "Node 20, baseline",
  newest: "newest Node, relaxed SIMD",
  chromium: "Chromium, relaxed SIMD",
};

/** One bar for each engine, as long as its share of the slowest. */
function bars(row: Row, ids: readonly string[], host: string): string {
  const there = ids.flatMap((id) => {
    const median = medianOf(row, id);
    return median === undefined ? [] : [{ id, median }];
  });
  const slowest = Math.max(...there.map((t) => t.median));
  const first = ranked([row], [`wasmith@${host}`, `ort-web@${host}`])[0];
  const lines = there.map(({ id, median }) => {
    const [engine] = id.split("@");
    const answered = answeredOf(row, id);
    const details = [
      `least ${ms(minimumOf(row, id)!)}`,
      ...(answered === undefined ? [] : [`load and first answer ${ms(answered)}`]),
      ...(memoryOf(row, id) === undefined ? [] : [`peak memory ${megabytes(memoryOf(row, id))}`]),
    ];
    return (
      `<div class="bar" title="${escaped(details.join(", "))}"><i class="${engine}" style="width:${((100 * median) / slowest).toFixed(2)}%"></i>` +
      `<span>${ms(median)}</span></div>`
    );
  });
  const badge = first === undefined ? "" : `<b class="${first.ratio < 1 ? "behind" : ""}">${times(first.ratio)}</b>`;
  return `<div class="row"><div class="name">${escaped(row.model)}${badge}</div><div>${lines.join("")}</div></div>`;
}

function section(rows: readonly Row[], group: Row["group"], host: string, threads: number): string {
  const chosen = rows.filter((r) => r.group === group && r.threads === threads);
  const ids = engineOrder
    .map((engine) => `${engine}@${host}`)
    .filter((id) => chosen.some((row) => medianOf(row, id) !== undefined));
  if (!ids.includes(`wasmith@${host}`)) return "";
  const order = ranked(chosen, [`wasmith@${host}`, `ort-web@${host}`]).map(({ row }) => row);
  const rest = chosen.filter((row) => !order.includes(row) && ids.some((id) => medianOf(row, id) !== undefined));
  const means = comparisons
    .filter(([ours, theirs]) => ours === `wasmith@${host}` && ids.includes(theirs))
    .map((pair) => {
      const list = ranked(chosen, pair).map(({ ratio }) => ratio);
      const engine = pair[1].split("@")[0] as (typeof engineOrder)[number];
      return `${times(geomean(list))} ${engineTitles[engine]} (${list.length})`;
    });
  return `<section><h2>${groupTitles[group]} <small>${hostTitles[host] ?? host}, ${threads} thread${threads === 1 ? "" : "s"}</small></h2>
<p>Geometric means of how many times as fast wasmith is: ${means.map(escaped).join(", ")}. Worst last.</p>
<p class="legend">${ids.map((id) => `<span><i class="${id.split("@")[0]}"></i>${engineTitles[id.split("@")[0] as (typeof engineOrder)[number]]}</span>`).join("")}</p>
${[...order, ...rest].map((row) => bars(row, ids, host)).join("\n")}</section>`;
}

const style = `
:root { color-scheme: light dark; --text: #1d2329; --dim: #5b6670; --page: #fff; --line: #e3e7eb;
  --wasmith: #1769c9; --ort-web: #b7bec6; --ort-node: #7fa38a; --behind: #b3362b; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e9ee; --dim: #9aa6b2; --page: #14181c; --line: #2a3138;
  --wasmith: #4f9cf5; --ort-web: #59636d; --ort-node: #4e7259; --behind: #f0796d; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; } h2 small { font-weight: normal; color: var(--dim); }
p { margin: .3rem 0; color: var(--dim); }
.row { display: grid; grid-template-columns: 14rem 1fr; gap: .8rem; padding: .35rem 0; border-top: 1px solid var(--line); align-items: center; }
.name { display: flex; justify-content: space-between; gap: .5rem; overflow-wrap: anywhere; } .name b { font-variant-numeric: tabular-nums; }
.behind { color: var(--behind); }
.bar { display: flex; align-items: center; height: 1.05rem; margin: 2px 0; padding-right: 6rem; }
.bar i { display: block; height: 100%; min-width: 2px; border-radius: 2px; }
.bar span { margin-left: .4rem; font-size: .8rem; color: var(--dim); white-space: nowrap; width: 0; font-variant-numeric: tabular-nums; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: .4rem 0 .6rem; } .legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .35rem; }
${engineOrder.map((engine) => `i.${engine} { background: var(--${engine}); }`).join("\n")}
@media (max-width: 40rem) { .row { grid-template-columns: 1fr; gap: .1rem; } }
`;

/** The page as HTML text. */
export function page({ machine, versions, settings, measured, rows }: Results): string {
  const hosts = ["node", "newest", "chromium"];
  const threads = [...new Set(rows.map((r) => r.threads))];
  const groups = Object.keys(groupTitles) as Row["group"][];
  const sections = threads.flatMap((n) =>
    hosts.flatMap((host) => groups.map((group) => section(rows, group, host, n))),
  );
  const days = measured[0] === measured[1] ? measured[0] : `${measured[0]} to ${measured[1]}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>wasmith against other engines</title><style>${style}</style></head><body>
<h1>wasmith against other engines</h1>
<p>${escaped(machine)}; ${days}. ${Object.entries(versions)
    .map(([name, version]) => escaped(`${name} ${version}`))
    .join(", ")}.</p>
<p>Median milliseconds of a run, the best of ${settings.rounds} round${settings.rounds === 1 ? "" : "s"}, after ${settings.warmUpMs / 1000} s of warm-up; each engine in a process of its own. Shorter is
faster. The number beside a name says how many times as fast wasmith is as onnxruntime-web.</p>
${sections.filter((s) => s !== "").join("\n")}
</body></html>
`;
}
