/**
 * Charts as one SVG, for notebooks, pages and files, where no script runs: the chart library of reports draws on a canvas. A module of its
 * own, which is loaded by those who ask for it.
 */
import { type Axis, hasLogarithm, linearAxis, logarithmicAxis, rangeOf } from "./axis.js";
import { type Chart, chartsOf, escaped, type Point } from "./charts.js";
import type { EpochEvent } from "./events.js";
import type { Curve } from "./history.js";

/** Of a chart without its legend, and of the room around its plot. */
const [width, height] = [440, 260];
const room = { left: 64, right: 12, top: 36, bottom: 40 };
const [plotWidth, plotHeight] = [width - room.left - room.right, height - room.top - room.bottom];
/** How high a row of the legend is. */
const rowHeight = 18;
/** Names in a row of the legend: four, or two where some are long. */
const columnsOf = (names: readonly string[]): number => (names.every((name) => name.length <= 11) ? 4 : 2);

/** Of the lines, on white and on dark. */
const colors: readonly (readonly [light: string, dark: string])[] = [
  ["#2563eb", "#6ea8fe"],
  ["#d97706", "#fbbf24"],
  ["#16a34a", "#4ade80"],
  ["#dc2626", "#f87171"],
  ["#7c3aed", "#a78bfa"],
  ["#0891b2", "#22d3ee"],
  ["#667085", "#98a2b3"],
  ["#be185d", "#f472b6"],
  ["#854d0e", "#d6a35c"],
  ["#4d7c0f", "#bef264"],
];
/** The class of a line: a letter. */
const classOf = (line: number): string => String.fromCharCode(97 + (line % colors.length));
const inks = (theme: 0 | 1): string => colors.map((pair, i) => `--${classOf(i)}: ${pair[theme]};`).join(" ");

/** Of this drawing alone, also where it stands in a page. */
const style = `
.wasmith { --ink: #1c2330; --soft: #667085; --grid: #e4e7ec; --page: #fff; ${inks(0)} }
@media (prefers-color-scheme: dark) { .wasmith { --ink: #e6e9ef; --soft: #98a2b3; --grid: #2b3240; --page: #181d27; ${inks(1)} } }
.wasmith text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.wasmith .title { font-size: 14px; font-weight: 600; fill: var(--ink); }
.wasmith .page { fill: var(--page); }
.wasmith .grid { stroke: var(--grid); }
.wasmith path { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.wasmith .dots { stroke-width: 5; }
.wasmith .dots.many { stroke-width: 3; opacity: 0.75; }
${colors.map((_, i) => `.wasmith path.${classOf(i)} { stroke: var(--${classOf(i)}); } .wasmith rect.${classOf(i)} { fill: var(--${classOf(i)}); }`).join("\n")}`;

const place = (v: number): string => v.toFixed(1);

type Range = readonly [number, number];

/** Ranges of which a unit is as long down as across. */
function equalized(across: Range, down: Range): readonly [Range, Range] {
  const unit = Math.max(across[1] / plotWidth - across[0] / plotWidth, down[1] / plotHeight - down[0] / plotHeight);
  const widened = ([low, high]: Range, length: number): Range => {
    const [middle, half] = [low / 2 + high / 2, (unit * length) / 2];
    return [Math.max(-Number.MAX_VALUE, middle - half), Math.min(Number.MAX_VALUE, middle + half)];
  };
  return [widened(across, plotWidth), widened(down, plotHeight)];
}

/** Axes over what is drawn. */
function axesOf({ logarithmic = false, equalUnits = false }: Chart, points: readonly Point[]): readonly [Axis, Axis] {
  const xs = points.map(([x]) => x);
  const ys = points.flatMap(([, y]) => (y === null ? [] : [y]));
  const whole = xs.every(Number.isInteger);
  if (logarithmic) return [linearAxis(rangeOf(xs), whole), logarithmicAxis(ys)];
  const ranges = [rangeOf(xs), rangeOf(ys)] as const;
  const [across, down] = equalUnits ? equalized(...ranges) : ranges;
  return [linearAxis(across, whole), linearAxis(down)];
}

function drawn(chart: Chart, column: number, top: number): string {
  const { title, axis, dots = [], logarithmic = false } = chart;
  const isSeen = (y: number | null) => Number.isFinite(y) && (!logarithmic || hasLogarithm(y!));
  const lines = Object.entries(chart.lines).map(([name, points]) => ({
    name,
    points: points.filter(([x]) => Number.isFinite(x)).map(([x, y]): Point => [x, isSeen(y) ? y : null]),
  }));
  const [horizontal, vertical] = axesOf(
    chart,
    lines.flatMap(({ points }) => points),
  );
  const across = (v: number) => place(room.left + horizontal.at(v) * plotWidth);
  const down = (v: number) => place(height - room.bottom - vertical.at(v) * plotHeight);
  const parts = [
    ...vertical.marks.map(({ value, label }) => {
      const y = down(value);
      const line = `<line class="grid" x1="${room.left}" x2="${width - room.right}" y1="${y}" y2="${y}"/>`;
      return `${line}<text x="${room.left - 8}" y="${y}" dy="4" text-anchor="end">${label}</text>`;
    }),
    ...horizontal.marks.map(
      ({ value, label }) =>
        `<text x="${across(value)}" y="${height - room.bottom + 18}" text-anchor="middle">${label}</text>`,
    ),
    `<text x="${(width + room.left) / 2}" y="${height - 6}" text-anchor="middle">${escaped(axis)}</text>`,
    ...lines.map(({ name, points }, i) => {
      const places = points.map(([x, y]) => (y === null ? null : `${across(x)} ${down(y)}`));
      return curve(places, classOf(i), !dots.includes(name));
    }),
    ...(lines.length > 1 ? legend(lines.map(({ name }) => name)) : []),
  ];
  return `<g transform="translate(${column * width} ${top})">
<text class="title" x="12" y="20">${escaped(title)}</text>
${parts.join("\n")}
</g>`;
}

/** A line that breaks off where there is no value, with dots where there are few; or dots alone, which are lines of no length. */
function curve(places: readonly (string | null)[], color: string, joined: boolean): string {
  const dots = places.map((p) => (p === null ? "" : `M${p}h0`)).join("");
  const few = places.length < 60;
  if (!joined) return `<path class="${color} dots${few ? "" : " many"}" d="${dots}"/>`;
  const line = places.map((p, i) => (p === null ? "" : `${i > 0 && places[i - 1] !== null ? "L" : "M"}${p}`)).join("");
  return `<path class="${color}" d="${line}"/>${few ? `<path class="${color} dots" d="${dots}"/>` : ""}`;
}

function legend(names: readonly string[]): string[] {
  const columns = columnsOf(names);
  return names.map((name, i) => {
    const x = room.left + ((i % columns) * plotWidth) / columns;
    const y = height + 12 + Math.floor(i / columns) * rowHeight;
    return `<rect class="${classOf(i)}" x="${x}" y="${y - 6}" width="12" height="4"/><text x="${x + 16}" y="${y}">${escaped(name)}</text>`;
  });
}

/** How high a chart is with its legend. */
function heightOf({ lines }: Chart): number {
  const names = Object.keys(lines);
  return height + (names.length > 1 ? Math.ceil(names.length / columnsOf(names)) * rowHeight : 0);
}

/**
 * Draws charts as one SVG document, in light and dark as the page is, two in a row: `await writeFile("curves.svg", drawCharts("Training", [{ title: "Loss",
 * axis: "epoch", lines: { training: losses.map((loss, epoch) => [epoch, loss]) } }]))`.
 */
export function drawCharts(title: string, charts: readonly Chart[]): string {
  const rows = Array.from({ length: Math.ceil(charts.length / 2) }, (_, i) => charts.slice(2 * i, 2 * i + 2));
  let bottom = 36;
  const parts = rows.map((row) => {
    const top = bottom;
    bottom += Math.max(...row.map(heightOf));
    return row.map((chart, column) => drawn(chart, column, top)).join("\n");
  });
  const [w, h] = [Math.min(2, Math.max(1, charts.length)) * width, Math.max(bottom, height)];
  return `<svg class="wasmith" xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" role="img">
<title>${escaped(title)}</title>
<style>${style}</style>
<rect class="page" width="${w}" height="${h}"/>
<text class="title" x="12" y="24">${escaped(title)}</text>
${parts.join("\n")}
</svg>
`;
}

/** The charts of a training. */
export const drawing = (title: string, epochs: readonly EpochEvent[], curve: Curve): string =>
  drawCharts(title, chartsOf(epochs, curve));
