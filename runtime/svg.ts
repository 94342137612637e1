/**
 * Curves of a training run as one SVG, for notebooks, pages and files, where no script runs: the chart library of reports draws on a
 * canvas. A module of its own, which is loaded by those who ask for it.
 */
import { type Chart, chartsOf, escaped, type Series } from "./charts.js";
import type { EpochEvent } from "./fit.js";
import type { Curve } from "./history.js";

/** Of a chart, and of the room around its plot. */
const [width, height] = [440, 260];
const room = { left: 64, right: 12, top: 36, bottom: 40 };
/** Classes of the lines: training first. */
const colors = ["a", "b"];

/** Of this drawing alone, also where it stands in a page. */
const style = `
.wasmith { --ink: #1c2330; --soft: #667085; --grid: #e4e7ec; --page: #fff; --a: #2563eb; --b: #d97706; }
@media (prefers-color-scheme: dark) { .wasmith { --ink: #e6e9ef; --soft: #98a2b3; --grid: #2b3240; --page: #181d27; --a: #6ea8fe; --b: #fbbf24; } }
.wasmith text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.wasmith .title { font-size: 14px; font-weight: 600; fill: var(--ink); }
.wasmith .page { fill: var(--page); }
.wasmith .grid { stroke: var(--grid); }
.wasmith path { fill: none; stroke-width: 2; stroke-linejoin: round; }
.wasmith path.a { stroke: var(--a); }
.wasmith path.b { stroke: var(--b); }
.wasmith .a.dot { fill: var(--a); }
.wasmith .b.dot { fill: var(--b); }`;

/** Round numbers from about low to about high, some five of them. */
function ticks(low: number, high: number, whole: boolean): number[] {
  const raw = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(whole ? 1 : 0, ([1, 2, 5, 10].find((m) => m * power >= raw) ?? 10) * power);
  const count = Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1;
  return Array.from({ length: count }, (_, i) => (Math.ceil(low / step - 1e-9) + i) * step);
}

/** Differences that are less are none: steps between marks would vanish beside the values, or in themselves. */
const [leastPart, least] = [1e-9, 1e-300];

/** Least and largest, apart from one another. */
function rangeOf(values: readonly number[]): readonly [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (high - low > Math.max(leastPart * size, least)) return [low, high];
  const apart = size > least ? size / 2 : 0.5;
  return [low - apart, high + apart];
}

const number = (v: number): string => String(+v.toPrecision(5));
const place = (v: number): string => v.toFixed(1);

function drawn({ title, axis, x, series }: Chart, i: number): string {
  const present = series.flatMap((s) => s.values.filter((v) => v !== null));
  const [xs, ys] = [rangeOf(x), rangeOf(present)];
  const across = (v: number) => room.left + ((v - xs[0]) / (xs[1] - xs[0])) * (width - room.left - room.right);
  const down = (v: number) =>
    height - room.bottom - ((v - ys[0]) / (ys[1] - ys[0])) * (height - room.top - room.bottom);
  const lines = [
    ...ticks(...ys, false).map((v) => {
      const y = place(down(v));
      const line = `<line class="grid" x1="${room.left}" x2="${width - room.right}" y1="${y}" y2="${y}"/>`;
      return `${line}<text x="${room.left - 8}" y="${y}" dy="4" text-anchor="end">${number(v)}</text>`;
    }),
    ...ticks(...xs, true).map(
      (v) => `<text x="${place(across(v))}" y="${height - room.bottom + 18}" text-anchor="middle">${number(v)}</text>`,
    ),
  ];
  const few = x.length < 60;
  const curves = series.map(({ values }, n) => curveOf(x, values, { across, down }, colors[n % 2]!, few));
  const legend = series
    .map(({ label }, n) => {
      const at = width - room.right - 110 * (series.length - n);
      const mark = `<rect class="${colors[n % 2]} dot" x="${at}" y="14" width="12" height="4"/>`;
      return `${mark}<text x="${at + 18}" y="20">${escaped(label)}</text>`;
    })
    .join("");
  return `<g transform="translate(${(i % 2) * width} ${Math.floor(i / 2) * height})">
<text class="title" x="12" y="20">${escaped(title)}</text>${series.length > 1 ? legend : ""}
${lines.join("\n")}
<text x="${(width + room.left) / 2}" y="${height - 6}" text-anchor="middle">${axis}</text>
${curves.join("\n")}
</g>`;
}

interface Scale {
  readonly across: (v: number) => number;
  readonly down: (v: number) => number;
}

/** A line that breaks off where there is no value. */
function curveOf(x: readonly number[], values: Series["values"], scale: Scale, color: string, dots: boolean): string {
  const points = values.map((v, i) => (v === null ? null : `${place(scale.across(x[i]!))} ${place(scale.down(v))}`));
  const path = points.map((p, i) => (p === null ? "" : `${i > 0 && points[i - 1] !== null ? "L" : "M"}${p}`)).join("");
  const marks = points.flatMap((p) => {
    const [cx, cy] = p?.split(" ") ?? [];
    return p === null ? [] : `<circle class="${color} dot" cx="${cx}" cy="${cy}" r="2.5"/>`;
  });
  return `<path class="${color}" d="${path}"/>${dots ? marks.join("") : ""}`;
}

/** @returns an SVG document with a chart for each measure, in light and dark */
export function drawing(title: string, epochs: readonly EpochEvent[], curve: Curve): string {
  const charts = chartsOf(epochs, curve);
  const [columns, rows] = [Math.min(2, Math.max(1, charts.length)), Math.max(1, Math.ceil(charts.length / 2))];
  const [w, h] = [columns * width, rows * height + 36];
  return `<svg class="wasmith" xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" role="img">
<title>${escaped(title)}</title>
<style>${style}</style>
<rect class="page" width="${w}" height="${h}"/>
<text class="title" x="12" y="24">${escaped(title)}</text>
<g transform="translate(0 36)">
${charts.map(drawn).join("\n")}
</g>
</svg>
`;
}
