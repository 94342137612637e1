/** Curves as SVG files. */

export interface Chart {
  readonly title: string;
  /** What runs along the axis. */
  readonly x: string;
  /** Points of each line by its name. */
  readonly lines: Readonly<Record<string, readonly (readonly [x: number, y: number])[]>>;
  /** Values grow by factors along the vertical axis. */
  readonly logarithmic?: boolean;
  /** Names of lines that are points alone. */
  readonly dots?: readonly string[];
}

const [width, height] = [460, 300];
const room = { left: 56, right: 12, top: 34, bottom: 82 };
const colors = ["#2563eb", "#d97706", "#16a34a", "#dc2626", "#7c3aed", "#0891b2", "#667085", "#be185d"];
const place = (v: number) => v.toFixed(1);
export const escaped = (text: string) => text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Round numbers between low and high, some five of them. */
function ticks(low: number, high: number): number[] {
  const power = 10 ** Math.floor(Math.log10((high - low) / 5));
  const step = ([1, 2, 5, 10].find((m) => m * power >= (high - low) / 5) ?? 10) * power;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

function drawn({ title, x: axis, lines, logarithmic = false, dots = [] }: Chart, offset: number): string {
  const scaled = (v: number) => (logarithmic ? Math.log10(v) : v);
  const points = Object.values(lines).flat();
  const range = (values: readonly number[]) => [Math.min(...values), Math.max(...values)] as const;
  const [x0, x1] = range(points.map((p) => p[0]));
  const [low, high] = range(points.map((p) => scaled(p[1])));
  const [y0, y1] = low === high ? [low - 0.5, high + 0.5] : [low, high];
  const across = (v: number) => room.left + ((v - x0) / (x1 - x0)) * (width - room.left - room.right);
  const down = (v: number) => height - room.bottom - ((v - y0) / (y1 - y0)) * (height - room.top - room.bottom);
  const parts = [`<text x="12" y="20" font-size="14" font-weight="600" fill="#1c2330">${escaped(title)}</text>`];
  const marks = logarithmic ? ticks(y0, y1).filter((t) => Number.isInteger(t) || y1 - y0 < 2) : ticks(y0, y1);
  for (const t of marks) {
    const value = logarithmic ? 10 ** t : t;
    const label = logarithmic && value < 1e-3 ? value.toExponential(0) : String(+value.toPrecision(3));
    parts.push(
      `<line x1="${room.left}" x2="${width - room.right}" y1="${place(down(t))}" y2="${place(down(t))}" stroke="#e4e7ec"/>`,
    );
    parts.push(`<text x="${room.left - 6}" y="${place(down(t) + 4)}" text-anchor="end">${label}</text>`);
  }
  for (const t of ticks(x0, x1))
    parts.push(
      `<text x="${place(across(t))}" y="${height - room.bottom + 16}" text-anchor="middle">${+t.toPrecision(4)}</text>`,
    );
  parts.push(
    `<text x="${(room.left + width) / 2}" y="${height - room.bottom + 32}" text-anchor="middle">${escaped(axis)}</text>`,
  );
  const columns = 4;
  const step = (width - room.left - room.right) / columns;
  const left = (i: number) => room.left + (i % columns) * step;
  const top = (i: number) => height - 30 + Math.floor(i / columns) * 18;
  Object.entries(lines).forEach(([name, line], i) => {
    const color = colors[i % colors.length]!;
    const places = line.map(([x, y]) => [place(across(x)), place(down(scaled(y)))] as const);
    parts.push(
      dots.includes(name)
        ? places.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3" fill="${color}"/>`).join("")
        : `<path fill="none" stroke="${color}" stroke-width="2" d="M${places.map((p) => p.join(" ")).join("L")}"/>`,
      `<rect x="${place(left(i))}" y="${top(i) - 6}" width="12" height="4" fill="${color}"/>`,
      `<text x="${place(left(i) + 16)}" y="${top(i)}">${escaped(name)}</text>`,
    );
  });
  return `<g transform="translate(${offset} 0)">${parts.join("\n")}</g>`;
}

/** Charts side by side, as one SVG document. */
export const charts = (...all: readonly Chart[]): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${all.length * width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="#667085">
<title>${escaped(all.map((chart) => chart.title).join("; "))}</title>
<rect width="100%" height="100%" fill="#fff"/>
${all.map((chart, i) => drawn(chart, i * width)).join("\n")}
</svg>
`;

/** Means of neighbouring values, at most `most` points: a curve that can be seen. */
export function thinned(values: readonly number[], most = 100): [x: number, y: number][] {
  const stride = Math.max(1, Math.ceil(values.length / most));
  return Array.from({ length: Math.ceil(values.length / stride) }, (_, i) => {
    const part = values.slice(i * stride, (i + 1) * stride);
    return [i * stride + part.length, part.reduce((a, b) => a + b, 0) / part.length];
  });
}
