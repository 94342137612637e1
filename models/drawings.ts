/** Drawings of what a model computes, as SVG files. */

/** Text of an SVG element. */
export const escaped = (text: string) => text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Weights [rows, columns] as squares, the larger the darker, between the tokens that they connect. */
export function attentionMap(
  weights: Float32Array,
  { rows, columns }: { readonly rows: readonly string[]; readonly columns: readonly string[] },
): string {
  const side = 28;
  const [left, top] = [90, 90];
  const cells = Array.from(weights, (w, i) => {
    const [row, column] = [Math.floor(i / columns.length), i % columns.length];
    const place = `x="${left + column * side}" y="${top + row * side}" width="${side - 1}" height="${side - 1}"`;
    return `<rect ${place} fill="#1f4e9c" fill-opacity="${Math.min(1, w).toFixed(3)}"/>`;
  });
  const across = columns.map((token, i) => {
    const [x, y] = [left + (i + 0.5) * side, top - 8];
    return `<text transform="translate(${x} ${y}) rotate(-45)">${escaped(token)}</text>`;
  });
  const down = rows.map(
    (token, i) => `<text x="${left - 8}" y="${top + (i + 0.7) * side}" text-anchor="end">${escaped(token)}</text>`,
  );
  const [width, height] = [left + columns.length * side + 60, top + rows.length * side + 10];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    `<title>${escaped(`Attention of ${rows.join(" ")} to ${columns.join(" ")}`)}</title>`,
    `<rect width="100%" height="100%" fill="#fff"/><g font-family="sans-serif" font-size="15">`,
    ...cells,
    ...across,
    ...down,
    "</g></svg>\n",
  ].join("\n");
}
