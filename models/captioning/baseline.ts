/**
 * What is said of scenes by a program that knows how they are made: the ink of each quarter, its size, softmax regression on what it shows,
 * and a template: `npx tsx models/captioning/baseline.ts`.
 */

import { compile, losses, nn, optim, trainStep } from "wasmith";
import { load } from "wasmith/runtime";
import { stretched } from "../detection/components.js";
import { argMax, floats } from "../values.js";
import { half, names, type Scene, scenes, side, singles } from "./scenes.js";

const ink = 0.15;
/** Large digits have 10 pixels of ink in a row or a column, small ones 7. */
const large = 8;
type Box = readonly [left: number, top: number, right: number, bottom: number];

/** The box around the ink in a square of `half` pixels, where there is some. */
function inked(pixels: Float32Array, width: number, left: number, top: number): Box | undefined {
  const places = Array.from(
    { length: half * half },
    (_, i) => [left + (i % half), top + Math.floor(i / half)] as const,
  );
  const found = places.filter(([x, y]) => pixels[y * width + x]! > ink);
  if (found.length === 0) return undefined;
  const [xs, ys] = [found.map(([x]) => x), found.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1];
}

const known = (await singles("train", 20_000, 0)).flatMap(({ x, y }) => {
  const box = inked(x.data, half, 0, 0);
  return box ? [{ x: Float32Array.from(stretched(x.data, half, box)), y }] : [];
});
const pixels = known[0]!.x.length;
const regression = trainStep(nn.Linear(pixels, 10), {
  inputs: { x: ["batch", pixels] },
  targets: { y: "i32[batch]" },
  loss: losses.crossEntropy(),
  optimizer: optim.Adam({ lr: 2e-3 }),
});
const session = await load(await compile(regression, { variants: ["simd128"] }), { threads: 1 });
await session.fit(
  {
    x: { dtype: "f32", shape: [known.length, pixels], data: Float32Array.from(known.flatMap(({ x }) => [...x])) },
    y: Int32Array.from(known, ({ y }) => y),
  },
  { epochs: 10, batchSize: 50, progress: false },
);

async function caption({ picture }: Scene): Promise<string> {
  const quarters = [0, 1, 2, 3].flatMap((i) => {
    const row = i >> 1;
    const box = inked(picture, side, (i % 2) * half, row * half);
    return box ? [{ row, box }] : [];
  });
  const told: string[] = [];
  for (const { box } of quarters) {
    const x = Float32Array.from(stretched(picture, side, box));
    const { output } = await session.predict({ x: { dtype: "f32", shape: [1, pixels], data: x } });
    const [left, top, right, bottom] = box;
    const size = Math.max(right - left, bottom - top) > large ? "large" : "small";
    told.push(`a ${size} ${names[argMax(floats(output), 10)[0]!]}`);
  }
  return told.join(quarters[0]?.row === quarters[1]?.row ? " left of " : " above ");
}

const test = await scenes("test", 500, 7);
let right = 0;
for (const scene of test) if ((await caption(scene)) === scene.caption) right++;
console.log(`captions right from the first word to the last: ${right / test.length}`);
session.dispose();
