/** A profile as a page: a roofline picture, the layers' times, and tables. One file, without scripts. */

import { type Group, groupsOf, type Profile, type ProfiledStep } from "./profile.js";

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);

const style = `
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --grid: #e4e7ec; --page: #f7f8fa; --card: #fff; --a: #2563eb; --roof: #d97706; --bar: #bfd4fb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #98a2b3; --grid: #2b3240; --page: #11151c; --card: #181d27; --a: #6ea8fe; --roof: #fbbf24; --bar: #2a4373; }
}
body { margin: 0; padding: 24px; background: var(--page); color: var(--ink); font: 14px/1.5 system-ui, sans-serif; }
main { max-width: 1100px; margin: auto; }
h1 { font-size: 22px; margin: 0 0 4px; }
h2 { font-size: 15px; margin: 0 0 8px; }
p { color: var(--soft); margin: 0 0 16px; }
section { background: var(--card); border: 1px solid var(--grid); border-radius: 8px; padding: 16px; margin-top: 16px; overflow-x: auto; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .inside { fill: var(--ink); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 2px 10px; white-space: nowrap; }
th:last-child, td:last-child { text-align: left; }
th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--grid); }`;

const duration = (ms: number): string =>
  ms < 0.1 ? `${(ms * 1000).toFixed(1)} µs` : `${ms.toFixed(ms < 10 ? 3 : 1)} ms`;
const number = (x: number): string => (x >= 100 ? x.toFixed(0) : String(Number(x.toPrecision(3))));

/** Share of the time from which on a kernel's dot has its number. */
const labelled = 0.01;

/** Place of a picture in its section. */
const width = 1060;

/**
 * Operations a second against operations a byte, both logarithmic: steps below the roof's slope wait for memory, those below its flat part
 * compute. Areas are times.
 */
function roofline({ steps, hardware, threads }: Profile): string {
  const kernels = groupsOf(steps, (s) => s.kernel);
  const shown = kernels.filter((g) => g.operations && g.bytes && g.ms > 0);
  if (shown.length === 0) return "";
  const [height, left, right, top, bottom] = [380, 50, 16, 16, 40];
  const peak = hardware.gflops * threads;
  const points = shown.map((g) => ({
    group: g,
    intensity: g.operations! / g.bytes!,
    speed: g.operations! / g.ms / 1e6,
  }));
  const decades = (values: readonly number[]): readonly [number, number] => [
    Math.floor(Math.log10(Math.min(...values))),
    Math.ceil(Math.log10(Math.max(...values) * 1.1)),
  ];
  const ridge = peak / hardware.gigabytes;
  const [x0, x1] = decades([...points.map((p) => p.intensity), ridge]);
  const [y0, y1] = decades([...points.map((p) => p.speed), peak]);
  const x = (v: number) => left + ((Math.log10(v) - x0) / (x1 - x0)) * (width - left - right);
  const y = (v: number) => height - bottom - ((Math.log10(v) - y0) / (y1 - y0)) * (height - top - bottom);
  const whole = steps.reduce((sum, s) => sum + s.ms, 0);
  const lines: string[] = [];
  for (let d = x0; d <= x1; d++) {
    const at = x(10 ** d).toFixed(1);
    lines.push(
      `<line x1="${at}" x2="${at}" y1="${top}" y2="${height - bottom}" stroke="var(--grid)"/>`,
      `<text x="${at}" y="${height - bottom + 16}" text-anchor="middle">${number(10 ** d)}</text>`,
    );
  }
  for (let d = y0; d <= y1; d++) {
    const at = y(10 ** d).toFixed(1);
    lines.push(
      `<line x1="${left}" x2="${width - right}" y1="${at}" y2="${at}" stroke="var(--grid)"/>`,
      `<text x="${left - 6}" y="${Number(at) + 4}" text-anchor="end">${number(10 ** d)}</text>`,
    );
  }
  const foot = Math.max(10 ** x0, 10 ** y0 / hardware.gigabytes);
  const roof = [
    [foot, foot * hardware.gigabytes],
    [ridge, peak],
    [10 ** x1, peak],
  ].map(([a, b]) => `${x(a!).toFixed(1)},${y(b!).toFixed(1)}`);
  const dots = points.map(({ group, intensity, speed }) => {
    const radius = 4 + 30 * Math.sqrt(group.ms / whole);
    const title = `${group.name}: ${duration(group.ms)}, ${number(speed)} GFLOP/s, ${number(intensity)} operations a byte`;
    const label =
      group.ms > labelled * whole
        ? `<text class="inside" text-anchor="middle" x="${x(intensity).toFixed(1)}" y="${(y(speed) + 4).toFixed(1)}">${kernels.indexOf(group) + 1}</text>`
        : "";
    return `<g><title>${escaped(title)}</title><circle cx="${x(intensity).toFixed(1)}" cy="${y(speed).toFixed(1)}" r="${radius.toFixed(1)}" fill="var(--a)" fill-opacity="0.35" stroke="var(--a)"/>${label}</g>`;
  });
  return `<section><h2>Roofline</h2>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="GFLOP/s against operations a byte, by kernel">
${lines.join("\n")}
<polyline points="${roof.join(" ")}" fill="none" stroke="var(--roof)" stroke-width="2"/>
${dots.join("\n")}
<text x="${(left + width - right) / 2}" y="${height - 4}" text-anchor="middle">operations a byte; areas are times, numbers those of kernels in the table</text>
<text x="${left + 6}" y="${top + 10}">GFLOP/s</text>
<text x="${width - right - 4}" y="${(y(peak) - 6).toFixed(1)}" text-anchor="end">${number(peak)} GFLOP/s; slope ${number(hardware.gigabytes)} GB/s</text>
</svg></section>`;
}

interface Part {
  readonly name: string;
  ms: number;
  readonly parts: Map<string, Part>;
}

/** The steps by the parts of their names: `encoder.layers.0.fc1`, `/encoder/layer.0/MatMul`. */
function treeOf(steps: readonly ProfiledStep[]): Part {
  const root: Part = { name: "", ms: 0, parts: new Map() };
  for (const s of steps) {
    let at = root;
    at.ms += s.ms;
    for (const name of [...s.name.split(/[./]/).filter(Boolean), s.kernel]) {
      const next = at.parts.get(name) ?? { name, ms: 0, parts: new Map() };
      at.parts.set(name, next);
      next.ms += s.ms;
      at = next;
    }
  }
  return root;
}

/** Narrower than this many units, a part is not drawn. */
const least = 1;
const rowHeight = 20;

function flames(profile: Profile): string {
  const root = treeOf(profile.steps);
  if (root.ms === 0) return "";
  const cells: string[] = [];
  let deepest = 0;
  const draw = (part: Part, path: string, from: number, depth: number): void => {
    let at = from;
    for (const child of part.parts.values()) {
      const size = (child.ms / root.ms) * width;
      if (size >= least) {
        deepest = Math.max(deepest, depth + 1);
        const name = path ? `${path}.${child.name}` : child.name;
        const fits = Math.floor((size - 6) / 6.2);
        const shown = child.name.length <= fits ? child.name : fits > 3 ? `${child.name.slice(0, fits - 1)}…` : "";
        const title = `${name}: ${duration(child.ms)}, ${((100 * child.ms) / root.ms).toFixed(1)} %`;
        cells.push(
          `<g><title>${escaped(title)}</title><rect x="${at.toFixed(1)}" y="${depth * rowHeight}" width="${Math.max(0.5, size - 1).toFixed(1)}" height="${rowHeight - 1}" fill="var(--bar)"/>` +
            `${shown && `<text class="inside" x="${(at + 3).toFixed(1)}" y="${depth * rowHeight + 14}">${escaped(shown)}</text>`}</g>`,
        );
        draw(child, name, at, depth + 1);
      }
      at += size;
    }
  };
  draw(root, "", 0, 0);
  return `<section><h2>Time by layer</h2>
<svg viewBox="0 0 ${width} ${deepest * rowHeight}" role="img" aria-label="time of layers and their parts">
${cells.join("\n")}
</svg></section>`;
}

function tableOf(title: string, groups: readonly Group[], whole: number): string {
  const rows = groups.map(({ name, steps, ms, operations, bytes, limitMs }, i) => [
    String(i + 1),
    duration(ms),
    `${((100 * ms) / whole).toFixed(1)} %`,
    String(steps),
    operations === null || ms === 0 ? "" : (operations / ms / 1e6).toFixed(1),
    bytes === null || ms === 0 ? "" : (bytes / ms / 1e6).toFixed(1),
    limitMs === null || ms === 0 ? "" : `${((100 * limitMs) / ms).toFixed(0)} %`,
    name,
  ]);
  const row = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((c) => `<${tag}>${escaped(c)}</${tag}>`).join("")}</tr>`;
  const head = row(["", "time", "share", "steps", "GFLOP/s", "GB/s", "of the limit", ""], "th");
  return `<section><h2>${title}</h2><table><thead>${head}</thead><tbody>${rows.map((r) => row(r, "td")).join("\n")}</tbody></table></section>`;
}

export function profilePage(profile: Profile): string {
  const { model, entry, variant, threads, hardware, run, steps, bounds } = profile;
  const whole = steps.reduce((sum, s) => sum + s.ms, 0);
  const bound = bounds.map((b) => `${b.threads} threads at most ${b.speedup.toFixed(2)} times as fast`).join(", ");
  const facts = [
    `${variant}, ${threads} thread${threads > 1 ? "s" : ""}`,
    `a run takes ${duration(run.min)} at least, ${duration(run.median)} in the middle`,
    `one thread of this machine computes ${hardware.gflops.toFixed(1)} GFLOP/s and reads ${hardware.gigabytes.toFixed(1)} GB/s`,
    ...(bound ? [`as chunks are cut, ${bound}`] : []),
  ];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(`Profile of ${model}`)}</title>
<style>${style}</style>
<main>
<h1>${escaped(`${model}, entry ${entry}`)}</h1>
<p>${escaped(facts.join("; "))}.</p>
${roofline(profile)}
${flames(profile)}
${tableOf(
  "By kernel",
  groupsOf(steps, (s) => s.kernel),
  whole,
)}
${tableOf(
  "By layer",
  groupsOf(steps, (s) => s.name || `(${s.kernel})`),
  whole,
)}
</main>
</html>
`;
}
