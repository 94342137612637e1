/** Charts of points as SVG. */

import { escaped } from "./plot.js";

export interface Series {
  readonly name: string;
  /** x and y of each point, one point after the other. */
  readonly points: ArrayLike<number>;
}

/** Ten colours that are told apart on white. */
const colours = [
  "#4e79a7",
  "#f28e2b",
  "#e15759",
  "#76b7b2",
  "#59a14f",
  "#edc948",
  "#b07aa1",
  "#ff9da7",
  "#9c755f",
  "#5b5b5b",
];

/** Points in the plane, a colour and a legend for each series. @param dot radius of a point, in px */
export function scatter(title: string, series: readonly Series[], { size = 480, dot = 1.6 } = {}): string {
  const all = series.flatMap(({ points }) => Array.from(points));
  const [xs, ys] = [0, 1].map((axis) => all.filter((_, i) => i % 2 === axis)) as [number[], number[]];
  const range = (values: readonly number[]): [number, number] => {
    const sorted = [...values].sort((a, b) => a - b);
    return [sorted[0]!, sorted[sorted.length - 1]!];
  };
  const [[left, right], [bottom, top]] = [range(xs), range(ys)];
  const [margin, legend] = [10, 90];
  const scale = (size - 2 * margin) / Math.max(right - left, top - bottom);
  const width = Math.ceil((right - left) * scale + 2 * margin);
  const height = Math.ceil(Math.max((top - bottom) * scale + 2 * margin, 18 * series.length + 12));
  const at = (points: ArrayLike<number>, i: number) =>
    `M${(margin + (points[i]! - left) * scale).toFixed(1)} ${(margin + (top - points[i + 1]!) * scale).toFixed(1)}h0`;
  const parts = series.map(({ name, points }, s) => {
    const colour = colours[s % colours.length]!;
    const path = Array.from({ length: points.length / 2 }, (_, i) => at(points, 2 * i)).join("");
    const y = 18 + 18 * s;
    return `<path d="${path}" stroke="${colour}" stroke-width="${2 * dot}" stroke-linecap="round" fill="none" opacity="0.75"/>
<circle cx="${width + 8}" cy="${y - 4}" r="5" fill="${colour}"/><text x="${width + 18}" y="${y}">${escaped(name)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width + legend} ${height}" width="${width + legend}" height="${height}" font-family="sans-serif" font-size="13">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
${parts.join("\n")}
</svg>
`;
}
