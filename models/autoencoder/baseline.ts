/** The error of PCA with as many components as the autoencoder has codes: `npx tsx models/autoencoder/baseline.ts`. */

import { flatDigits } from "../data/digits.js";
import { principalComponents } from "../pca.js";

const [{ x: train }, { x: test }] = await Promise.all([flatDigits("train"), flatDigits("test")]);
const { mean, components } = principalComponents(train.data, 784, 2);
let error = 0;
for (let at = 0; at < test.data.length; at += 784) {
  const centred = test.data.subarray(at, at + 784).map((v, i) => v - mean[i]!);
  // Components are orthonormal, so what they do not explain is the rest of the squared length.
  error += dot(centred, centred) - components.reduce((sum, c) => sum + dot(c, centred) ** 2, 0);
}
console.log(error / test.data.length);

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
