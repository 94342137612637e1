/** Scenes with captions, as SVG files. */

import { escaped } from "../drawings.js";
import { embedded, grid } from "../pictures.js";
import { type Scene, side } from "./scenes.js";

const image = ({ picture }: Scene, x: number, y: number, size: number) =>
  `<image x="${x}" y="${y}" width="${size}" height="${size}" image-rendering="pixelated" href="${embedded(
    grid(picture, { size: [side, side], columns: 1, scale: 1 }),
  )}"/>`;

const document = (title: string, width: number, height: number, parts: readonly string[]) =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    '<rect width="100%" height="100%" fill="#fff"/>',
    ...parts,
    "</svg>\n",
  ].join("\n");

const columns = 3;
const [width, height, size] = [250, 150, 96];

/** Scenes above what is said of them: green where it is right, else red with what it is. */
export function captioned(scenes: readonly Scene[], said: readonly string[]): string {
  const parts = scenes.map((scene, i) => {
    const [x, y] = [(i % columns) * width, Math.floor(i / columns) * height];
    const text = (line: string, at: number, color: string) =>
      `<text x="${x + width / 2}" y="${y + at}" text-anchor="middle" fill="${color}">${escaped(line)}</text>`;
    const right = said[i] === scene.caption;
    return [
      image(scene, x + (width - size) / 2, y + 10, size),
      text(said[i]!, size + 26, right ? "#15803d" : "#b91c1c"),
      ...(right ? [] : [text(`it is ${scene.caption}`, size + 41, "#667085")]),
    ].join("\n");
  });
  return document("Scenes and captions", columns * width, Math.ceil(scenes.length / columns) * height, parts);
}

export interface Attended {
  readonly scene: Scene;
  readonly words: readonly string[];
  /** How much of a look each cell gets at each word [words, cells]. */
  readonly attention: Float32Array;
}

const panel = 72;

/** A row for each scene: the words of its caption, and where the model looked at each of them. */
export function attended(rows: readonly Attended[]): string {
  const parts = rows.flatMap(({ scene, words, attention }, row) => {
    const y = 8 + row * (panel + 26);
    const cells = attention.length / words.length;
    const across = Math.sqrt(cells);
    const cell = panel / across;
    return words.map((word, i) => {
      const x = 8 + i * (panel + 6);
      const looks = Array.from(attention.subarray(i * cells, (i + 1) * cells), (share, k) => {
        const place = `x="${x + (k % across) * cell}" y="${y + Math.floor(k / across) * cell}"`;
        return `<rect ${place} width="${cell}" height="${cell}" fill="#f59e0b" fill-opacity="${(0.8 * share).toFixed(2)}"/>`;
      });
      const text = `<text x="${x + panel / 2}" y="${y + panel + 14}" text-anchor="middle" fill="#1c2330">${escaped(word)}</text>`;
      return [image(scene, x, y, panel), ...looks, text].join("\n");
    });
  });
  const most = Math.max(...rows.map(({ words }) => words.length));
  return document(
    "Where the model looked at each word",
    10 + most * (panel + 6),
    8 + rows.length * (panel + 26),
    parts,
  );
}
