/** A picture of the grid world: what an agent does in each cell, and what it expects there. */

import { GridWorld } from "../environments/grid-world.js";

const side = 44;
/** Up, right, down, left. */
const turns = [0, 90, 180, 270];

/** @param actions of the cells, row by row, @param values the returns to expect */
export function gridPicture(actions: readonly number[], values: Float32Array): string {
  const cells = actions.map((action, i) => {
    const [row, column] = [Math.floor(i / GridWorld.size), i % GridWorld.size];
    const kind = GridWorld.map[row]![column]!;
    const share = Math.max(0, Math.min(1, (values[i]! + 1) / 2));
    const fill = { "#": "#1c2330", o: "#dc2626", G: "#16a34a" }[kind] ?? `hsl(217 80% ${95 - 45 * share}%)`;
    const arrow =
      kind === "."
        ? `<path d="M0 10V-10M-6 -4L0 -10L6 -4" transform="rotate(${turns[action]})" stroke="#1c2330" stroke-width="2.5" fill="none"/>`
        : "";
    return `<g transform="translate(${column * side + side / 2} ${row * side + side / 2})"><rect x="${-side / 2}" y="${-side / 2}" width="${side - 1}" height="${side - 1}" fill="${fill}"/>${arrow}</g>`;
  });
  const size = GridWorld.size * side;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}" viewBox="0 0 ${size} ${size}">
<title>The way to the goal (green), past walls (black) and pits (red); darker blue where a higher return is expected</title>
${cells.join("\n")}
</svg>
`;
}
