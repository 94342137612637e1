/** The distance between two sets of points, as that of the normal distributions with their means and covariances. */

type Matrix = readonly Float64Array[];

/**
 * |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½): Fréchet's distance of normal distributions (Dowson and Landau, 1982).
 * @param a rows of `width` numbers
 */
export function frechetDistance(a: Float32Array, b: Float32Array, width: number): number {
  const [first, second] = [moments(a, width), moments(b, width)];
  const apart = first.mean.reduce((sum, v, i) => sum + (v - second.mean[i]!) ** 2, 0);
  // (Σ₁Σ₂)^½ has the trace of (Σ₁^½ Σ₂ Σ₁^½)^½, which is symmetric.
  const { values, vectors } = eigen(first.covariance);
  const root = product(
    vectors.map((row) => row.map((v, k) => v * Math.sqrt(Math.max(0, values[k]!)))),
    transposed(vectors),
  );
  const mixed = eigen(product(product(root, second.covariance), root)).values;
  const trace = (m: Matrix) => m.reduce((sum, row, i) => sum + row[i]!, 0);
  const common = mixed.reduce((sum, v) => sum + Math.sqrt(Math.max(0, v)), 0);
  return apart + trace(first.covariance) + trace(second.covariance) - 2 * common;
}

function moments(data: Float32Array, width: number) {
  const rows = data.length / width;
  const mean = new Float64Array(width);
  data.forEach((v, i) => {
    mean[i % width]! += v / rows;
  });
  const covariance = zeros(width);
  for (let at = 0; at < data.length; at += width)
    for (let i = 0; i < width; i++)
      for (let j = 0; j < width; j++)
        covariance[i]![j]! += ((data[at + i]! - mean[i]!) * (data[at + j]! - mean[j]!)) / (rows - 1);
  return { mean, covariance };
}

const zeros = (size: number): Matrix => Array.from({ length: size }, () => new Float64Array(size));
const transposed = (m: Matrix): Matrix => m.map((row, i) => row.map((_, j) => m[j]![i]!));
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => row.map((_, j) => row.reduce((sum, v, k) => sum + v * b[k]![j]!, 0)));

/** Eigenvalues of a symmetric matrix, and eigenvectors in columns, by Jacobi's rotations. */
function eigen(symmetric: Matrix): { readonly values: Float64Array; readonly vectors: Matrix } {
  const size = symmetric.length;
  const m = symmetric.map((row) => row.slice());
  const vectors = zeros(size);
  for (let i = 0; i < size; i++) vectors[i]![i] = 1;
  for (let sweep = 0; sweep < 20; sweep++)
    for (let p = 0; p < size; p++)
      for (let q = p + 1; q < size; q++) {
        if (Math.abs(m[p]![q]!) < 1e-15) continue;
        const angle = 0.5 * Math.atan2(2 * m[p]![q]!, m[q]![q]! - m[p]![p]!);
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        const rotate = (row: Float64Array, i: number, j: number) => {
          [row[i], row[j]] = [c * row[i]! - s * row[j]!, s * row[i]! + c * row[j]!];
        };
        for (const row of m) rotate(row, p, q);
        for (let k = 0; k < size; k++) {
          const [a, b] = [m[p]![k]!, m[q]![k]!];
          m[p]![k] = c * a - s * b;
          m[q]![k] = s * a + c * b;
        }
        for (const row of vectors) rotate(row, p, q);
      }
  return { values: Float64Array.from(m, (row, i) => row[i]!), vectors };
}
