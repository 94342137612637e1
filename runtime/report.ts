/** A page that shows how training went. A module of its own, which is loaded by those who ask for it. */
import { chartLibrary } from "./chart.js";
import { type Chart, chartsOf, escaped } from "./charts.js";
import type { EpochEvent } from "./events.js";
import type { Curve } from "./history.js";

const shown = (value: unknown): string =>
  typeof value === "number" ? (Number.isInteger(value) ? String(value) : value.toPrecision(5)) : "";

function tableOf(epochs: readonly EpochEvent[]): string {
  const rows = epochs.map(({ epoch, seconds, learningRate, loss, metrics, validation }) => ({
    epoch,
    loss,
    ...metrics,
    ...(validation === null
      ? {}
      : Object.fromEntries(
          Object.entries({ loss: validation.loss, ...validation.metrics }).map(([k, v]) => [`validation ${k}`, v]),
        )),
    ...(learningRate === null ? {} : { rate: learningRate }),
    seconds,
  }));
  const columns = [...new Set(rows.flatMap((r) => Object.keys(r)))];
  const row = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((c) => `<${tag}>${escaped(c)}</${tag}>`).join("")}</tr>`;
  const body = rows.map((r) =>
    row(
      columns.map((c) => shown((r as Record<string, unknown>)[c])),
      "td",
    ),
  );
  return `<table><thead>${row(columns, "th")}</thead><tbody>${body.join("")}</tbody></table>`;
}

const style = `
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --grid: #e4e7ec; --page: #f7f8fa; --card: #fff; --a: #2563eb; --b: #d97706; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #98a2b3; --grid: #2b3240; --page: #11151c; --card: #181d27; --a: #6ea8fe; --b: #fbbf24; }
}
body { margin: 0; padding: 24px; background: var(--page); color: var(--ink); font: 14px/1.5 system-ui, sans-serif; }
main { max-width: 1200px; margin: auto; }
h1 { font-size: 22px; margin: 0 0 4px; }
h2 { font-size: 15px; margin: 0 0 8px; }
p { color: var(--soft); margin: 0 0 20px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); gap: 16px; }
section { background: var(--card); border: 1px solid var(--grid); border-radius: 8px; padding: 16px; min-width: 0; }
.wide { overflow-x: auto; margin-top: 16px; }
.wide table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide th, .wide td { text-align: right; padding: 2px 12px; white-space: nowrap; }
.wide th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--grid); }
.u-legend { font-size: 12px; text-align: left !important; }`;

/** Runs in the page. Colours are read from the style, so that both themes have theirs. */
const script = `
const charts = JSON.parse(document.getElementById("data").textContent);
let drawn = [];
function draw() {
  for (const { plot } of drawn) plot.destroy();
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = () => ({ stroke: color("--soft"), grid: { stroke: color("--grid"), width: 1 }, ticks: { stroke: color("--grid"), width: 1 } });
  const text = (u, v) => (v == null ? "–" : String(+v.toPrecision(5)));
  drawn = charts.map((chart, i) => {
    const place = document.getElementById("chart" + i);
    const few = chart.x.length < 60;
    const series = chart.series.map((s, n) => ({ label: s.label, stroke: color(n ? "--b" : "--a"), width: 2, points: { show: few, size: 5 }, value: text }));
    const whole = chart.x.length < 12 ? { incrs: [1, 2, 5, 10] } : {};
    const plot = new uPlot({
      width: place.clientWidth, height: 240,
      scales: { x: { time: false, range: (u, min, max) => (chart.x.length < 2 ? [chart.x[0] - 0.5, chart.x[0] + 0.5] : [min, max]) } },
      axes: [{ ...axis(), ...whole }, { ...axis(), size: 72, values: (u, splits) => splits.map((v) => text(u, v)) }],
      series: [{ label: chart.axis }, ...series],
    }, [chart.x, ...chart.series.map((s) => s.values)], place);
    return { plot, place };
  });
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("resize", () => { for (const { plot, place } of drawn) plot.setSize({ width: place.clientWidth, height: 240 }); });`;

/** As the chart library takes it: lines over the same x. */
const columns = ({ title, axis, lines }: Chart) => ({
  title,
  axis,
  x: Object.values(lines)[0]!.map(([x]) => x),
  series: Object.entries(lines).map(([label, points]) => ({ label, values: points.map(([, y]) => y) })),
});

/** @returns a whole page, whose charts are drawn by uPlot, which is in it with its licence */
export async function reportPage(title: string, epochs: readonly EpochEvent[], curve: Curve): Promise<string> {
  const library = await chartLibrary();
  const charts = chartsOf(epochs, curve);
  const seconds = epochs.reduce((sum, e) => sum + e.seconds, 0);
  const places = charts.map((c, i) => `<section><h2>${escaped(c.title)}</h2><div id="chart${i}"></div></section>`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<!-- Charts by uPlot:
${library.license.replaceAll("--", "- -")}
-->
<style>${library.style}${style}</style>
<main>
<h1>${escaped(title)}</h1>
<p>${epochs.length} epoch${epochs.length === 1 ? "" : "s"}, ${seconds.toFixed(1)} s</p>
<div class="charts">
${places.join("\n")}
</div>
<section class="wide">${tableOf(epochs)}</section>
</main>
<script type="application/json" id="data">${JSON.stringify(charts.map(columns)).replaceAll("<", "\\u003c")}</script>
<script>${library.script}</script>
<script>${script}</script>
</html>
`;
}
