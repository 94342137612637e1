/** Principal components, as a baseline of what learns codes. */

/**
 * The directions of largest variance, by orthogonal iteration.
 * @param data rows of `width` numbers
 */
export function principalComponents(data: Float32Array, width: number, count: number, rounds = 60) {
  const rows = data.length / width;
  const mean = new Float64Array(width);
  data.forEach((v, i) => {
    mean[i % width]! += v / rows;
  });
  let components: readonly Float64Array[] = Array.from({ length: count }, (_, k) =>
    Float64Array.from(mean, (_, i) => Math.sin((k + 1) * i)),
  );
  for (let round = 0; round < rounds; round++) {
    const next = components.map(() => new Float64Array(width));
    for (let at = 0; at < data.length; at += width)
      components.forEach((component, k) => {
        let along = 0;
        for (let i = 0; i < width; i++) along += (data[at + i]! - mean[i]!) * component[i]!;
        for (let i = 0; i < width; i++) next[k]![i]! += (data[at + i]! - mean[i]!) * along;
      });
    components = orthonormal(next);
  }
  return { mean, components };
}

/** Gram and Schmidt. */
function orthonormal(vectors: readonly Float64Array[]): Float64Array[] {
  const done: Float64Array[] = [];
  for (const vector of vectors) {
    let rest = vector;
    for (const unit of done) {
      const along = rest.reduce((sum, v, i) => sum + v * unit[i]!, 0);
      rest = rest.map((v, i) => v - along * unit[i]!);
    }
    const length = Math.hypot(...rest);
    done.push(rest.map((v) => v / length));
  }
  return done;
}
