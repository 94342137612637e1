/** How the commands print sizes and times. */

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  if (n < 1024 * 1024) return `${(n / 1024).toFixed(1)} KB`;
  return `${(n / 1024 / 1024).toFixed(2)} MB`;
}

export function ms(t: number): string {
  if (t < 1) return `${(t * 1000).toFixed(0)} µs`;
  if (t < 1000) return `${t < 100 ? t.toFixed(2) : t.toFixed(0)} ms`;
  return t < 60_000
    ? `${(t / 1000).toFixed(2)} s`
    : `${Math.floor(t / 60_000)} min ${Math.round((t % 60_000) / 1000)} s`;
}

/** Five digits, which is what f32 sums are good for. */
export const number = (v: number): string => String(Number(v.toPrecision(5)));

/** `1 step`, `2 steps`. */
export const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;

/** Columns aligned with spaces; numbers to the right, unless all is to be to the left. */
export function table(rows: readonly (readonly string[])[], align: "left" | "numbers" = "numbers"): string {
  const widths = rows.reduce<number[]>((w, row) => row.map((cell, i) => Math.max(w[i] ?? 0, cell.length)), []);
  return rows
    .map((row) =>
      row
        .map((cell, i) =>
          align === "numbers" && /^[\d.]/.test(cell) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!),
        )
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
