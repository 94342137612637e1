/** A graph and what was found in it, as SVG. */

import { randomOf } from "wasmith/data";
import type { Graphs } from "./graphs.js";

const side = 420;

/** Places of nodes: springs along edges, and all push one another away (Fruchterman and Reingold, 1991). */
function places({ said, from, to }: Graphs): readonly (readonly [x: number, y: number])[] {
  const random = randomOf(1);
  const at = Array.from(said, () => [random.between(-1, 1), random.between(-1, 1)] as [number, number]);
  for (let round = 0; round < 300; round++) {
    const pull = at.map(() => [0, 0] as [number, number]);
    const add = (i: number, j: number, strength: (distance: number) => number) => {
      const [dx, dy] = [at[j]![0] - at[i]![0], at[j]![1] - at[i]![1]];
      const distance = Math.hypot(dx, dy) + 1e-6;
      pull[i]![0] += (dx / distance) * strength(distance);
      pull[i]![1] += (dy / distance) * strength(distance);
    };
    for (let i = 0; i < at.length; i++) for (let j = 0; j < at.length; j++) if (i !== j) add(i, j, (d) => -0.02 / d);
    for (const [e, a] of from.entries()) add(Number(a), Number(to[e]), (d) => d * d * 0.3);
    const step = 0.05 * (1 - round / 300);
    for (const [i, [x, y]] of pull.entries()) {
      const length = Math.hypot(x, y) + 1e-6;
      at[i]![0] += (x / length) * Math.min(length, step);
      at[i]![1] += (y / length) * Math.min(length, step);
    }
  }
  const most = Math.max(...at.flat().map(Math.abs));
  return at.map(([x, y]) => [(x / most) * 190 + side / 2, (y / most) * 190 + side / 2]);
}

/** @param found a score of each node: above 0 for the first community */
export function drawing(graph: Graphs, found: Float32Array): string {
  const at = places(graph);
  const lines = Array.from(graph.from, (a, e) => [Number(a), Number(graph.to[e])] as const)
    .filter(([a, b]) => a < b)
    .map(
      ([a, b]) => `<path d="M${at[a]!.map((v) => v.toFixed(1))}L${at[b]!.map((v) => v.toFixed(1))}" stroke="#c7ccd6"/>`,
    );
  const nodes = at.map(([x, y], i) => {
    const fill = found[i]! > 0 ? "#2563eb" : "#d97706";
    const place = `translate(${x.toFixed(1)} ${y.toFixed(1)})`;
    if (graph.said[i] !== 0)
      return `<rect x="-9" y="-9" width="18" height="18" fill="${fill}" stroke="#1c2330" stroke-width="2" transform="${place}"/>`;
    const wrong = found[i]! > 0 !== (graph.community[i] === 1);
    const cross = wrong ? '<path d="M-5 -5L5 5M-5 5L5 -5" stroke="#fff" stroke-width="2.5"/>' : "";
    return `<g transform="${place}"><circle r="8" fill="${fill}"/>${cross}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}" viewBox="0 0 ${side} ${side}">
<title>Two communities: squares said theirs, the colours of the others were found, crosses are wrong</title>
<rect width="100%" height="100%" fill="#fff"/>
${[...lines, ...nodes].join("\n")}
</svg>
`;
}
