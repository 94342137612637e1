/** What other densities leave of two moons, in nats a point: `npx tsx models/flow/baseline.ts`. */

import { twoMoons } from "../data/plane.js";

const [known, test] = [twoMoons(10_000, 1), twoMoons(5000, 2)];
const count = known.length / 2;

const mean = [0, 1].map((axis) => known.reduce((sum, v, i) => sum + (i % 2 === axis ? v / count : 0), 0));
const covariance = (a: 0 | 1, b: 0 | 1) => {
  let sum = 0;
  for (let i = 0; i < known.length; i += 2) sum += (known[i + a]! - mean[a]!) * (known[i + b]! - mean[b]!);
  return sum / count;
};
const [xx, xy, yy] = [covariance(0, 0), covariance(0, 1), covariance(1, 1)];

/** Normal distributions with these covariances around all points that are known. */
function kernelDensity([xx, xy, yy]: readonly [number, number, number]): number {
  const determinant = xx * yy - xy * xy;
  let loss = 0;
  for (let i = 0; i < test.length; i += 2) {
    let density = 0;
    for (let j = 0; j < known.length; j += 2) {
      const [x, y] = [test[i]! - known[j]!, test[i + 1]! - known[j + 1]!];
      density += Math.exp(-(yy * x * x - 2 * xy * x * y + xx * y * y) / (2 * determinant));
    }
    loss -= Math.log(density / count / (2 * Math.PI * Math.sqrt(determinant)));
  }
  return loss / (test.length / 2);
}

const normal = 1 + Math.log(2 * Math.PI) + 0.5 * Math.log(xx * yy - xy * xy);
console.log(`one normal distribution: ${normal.toFixed(3)}`);
// Scott's rule, which SciPy's gaussian_kde follows: the points' covariances, times count^(-2 / (axes + 4)).
const scott = count ** (-1 / 3);
console.log(`kernels by Scott's rule: ${kernelDensity([scott * xx, scott * xy, scott * yy]).toFixed(3)}`);
for (const width of [0.03, 0.04, 0.05])
  console.log(`round kernels of width ${width}: ${kernelDensity([width ** 2, 0, width ** 2]).toFixed(3)}`);
