/** What the judge says of digits drawn without a network, and of digits: `npx tsx models/dcgan/baseline.ts`. */

import { smallDigits } from "../data/digits.js";
import { Judge, normalPictures } from "../judge.js";

const judge = await Judge.trained();
const digits = await smallDigits("train");
const normal = normalPictures(digits, 2000, 1);
console.log(`a normal distribution for each digit: ${await judge.distance(normal, digits.x)}`);
for (const [what, from] of [
  ["first", 0],
  ["last", 8000],
] as const) {
  const some = { ...digits.x, shape: [2000, 1, 16, 16], data: digits.x.data.subarray(from * 256, (from + 2000) * 256) };
  console.log(`the ${what} 2,000 of the digits: ${await judge.distance(some, digits.x)}`);
}
judge.dispose();
