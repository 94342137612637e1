/** A recording and what is told of it over time, as an SVG file. */

import { bands, frameTime } from "../data/spoken.js";
import { escaped } from "../drawings.js";
import { embedded, grid } from "../pictures.js";

export interface Heard {
  readonly title: string;
  /** Energies [frames, bands]. */
  readonly x: Float32Array;
  /** Of the blank and of the digits [steps, classes]; a step is two frames. */
  readonly probabilities: Float32Array;
  readonly classes: number;
}

const [left, top, width] = [40, 36, 720];
const [pictureHeight, curveHeight] = [144, 120];
const colors = [
  "#2563eb",
  "#d97706",
  "#16a34a",
  "#dc2626",
  "#7c3aed",
  "#0891b2",
  "#854d0e",
  "#be185d",
  "#4d7c0f",
  "#1e293b",
];

/** Energies with high bands on top, and below them the probability of each digit; the blank is grey. */
export function drawn({ title, x, probabilities, classes }: Heard): string {
  const frames = x.length / bands;
  const steps = probabilities.length / classes;
  const turned = Float32Array.from({ length: x.length }, (_, i) => {
    const [band, t] = [bands - 1 - Math.floor(i / frames), i % frames];
    return x[t * bands + band]!;
  });
  const png = grid(turned, { size: [bands, frames], columns: 1, scale: 1, range: [2.5, -2] });
  const across = (t: number) => left + ((2 * t + 0.5) / frames) * width;
  const bottom = top + pictureHeight + 24 + curveHeight;
  const down = (p: number) => bottom - p * curveHeight;
  const of = (t: number, k: number) => probabilities[t * classes + k]!;
  const curves = Array.from({ length: classes }, (_, k) => {
    const color = k === 0 ? "#c4c9d2" : colors[k - 1]!;
    const points = Array.from({ length: steps }, (_, t) => `${across(t).toFixed(1)} ${down(of(t, k)).toFixed(1)}`);
    const peaks = Array.from({ length: steps }, (_, t) => t).filter(
      (t) =>
        k > 0 &&
        of(t, k) > 0.3 &&
        of(t, k) >= (t > 0 ? of(t - 1, k) : 0) &&
        of(t, k) > (t + 1 < steps ? of(t + 1, k) : 0),
    );
    return [
      `<path fill="none" stroke="${color}" stroke-width="2" d="M${points.join("L")}"/>`,
      ...peaks.map(
        (t) =>
          `<text x="${across(t).toFixed(1)}" y="${(down(of(t, k)) - 5).toFixed(1)}" fill="${color}" text-anchor="middle">${k - 1}</text>`,
      ),
    ].join("\n");
  });
  const seconds = Array.from({ length: Math.floor(frames * frameTime * 2) + 1 }, (_, i) => i / 2);
  const marks = seconds.map(
    (s) =>
      `<text x="${(left + (s / frameTime / frames) * width).toFixed(1)}" y="${bottom + 18}" text-anchor="middle">${s} s</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + width + 20}" height="${bottom + 30}" font-family="system-ui, sans-serif" font-size="13" fill="#667085">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="${left}" y="22" font-size="15" font-weight="600" fill="#1c2330">${escaped(title)}</text>
<image x="${left}" y="${top}" width="${width}" height="${pictureHeight}" preserveAspectRatio="none" image-rendering="pixelated" href="${embedded(png)}"/>
<line x1="${left}" x2="${left + width}" y1="${bottom}" y2="${bottom}" stroke="#e4e7ec"/>
<text x="${left - 6}" y="${bottom + 4}" text-anchor="end">0</text><text x="${left - 6}" y="${down(1) + 4}" text-anchor="end">1</text>
${curves.join("\n")}
${marks.join("\n")}
</svg>
`;
}
