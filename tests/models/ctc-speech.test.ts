/** How models/ctc-speech makes digits of probabilities, and what it is compared with. */

import { expect, it } from "vitest";
import { compile, program } from "../../index.js";
import { prefixBeam } from "../../models/ctc-speech/beam.js";
import { greedy } from "../../models/ctc-speech/model.js";
import { digitError, distance, unseen } from "../../models/ctc-speech/utterances.js";
import { connected, width } from "../../models/ctc-speech/warping.js";
import { load } from "../../runtime/index.js";
import { seeded } from "../graph/random.js";

/** Labels of a way: each once while it lasts, without blanks. */
const collapsed = (way: readonly number[]) => way.filter((label, t) => label !== 0 && label !== way[t - 1]);

/** Probabilities of all rows of labels, by going all ways. */
function byAllWays(p: Float32Array, classes: number): Map<string, number> {
  const steps = p.length / classes;
  const sums = new Map<string, number>();
  for (let n = 0; n < classes ** steps; n++) {
    const way = Array.from({ length: steps }, (_, t) => Math.floor(n / classes ** t) % classes);
    const key = collapsed(way).join();
    const probability = way.reduce((product, label, t) => product * p[t * classes + label]!, 1);
    sums.set(key, (sums.get(key) ?? 0) + probability);
  }
  return sums;
}

it("the beam finds the row of labels that is most probable over all ways", () => {
  // The most probable way is blank twice (0.36), but "1" can be told in three ways (0.64).
  expect(prefixBeam(Float32Array.of(0.6, 0.4, 0.6, 0.4), 2)).toEqual([1]);
  const random = seeded(3);
  for (let round = 0; round < 20; round++) {
    const p = Float32Array.from({ length: 6 * 3 }, () => random());
    for (let t = 0; t < p.length; t += 3) {
      const total = p[t]! + p[t + 1]! + p[t + 2]!;
      for (let k = t; k < t + 3; k++) p[k]! /= total;
    }
    const all = byAllWays(p, 3);
    const most = Math.max(...all.values());
    expect(all.get(prefixBeam(p, 3, 200).join())).toBeCloseTo(most, 10);
  }
});

it("greedy transcripts have each label once while it lasts, and end with the recording", {
  timeout: 60_000,
}, async () => {
  const p = program(
    {},
    {
      tell: {
        inputs: { logits: "f32[batch,steps,3]", frames: "i32[batch]" },
        run: (_, { logits, frames }) => ({ labels: greedy(logits, frames) }),
      },
    },
  );
  const session = await load(await compile(p, { variants: ["simd128"] }), { threads: 1 });
  const ways = [
    [1, 1, 0, 1, 2, 2],
    [0, 2, 0, 0, 1, 1],
  ];
  const logits = Float32Array.from(ways.flatMap((way) => way.flatMap((best) => [0, 1, 2].map((k) => +(k === best)))));
  // The second recording ends behind 7 frames: 4 steps.
  const { labels } = await session.tell({
    logits: { dtype: "f32", shape: [2, 6, 3], data: logits },
    frames: Int32Array.of(12, 7),
  });
  expect(Array.from((labels as { data: BigInt64Array }).data, Number)).toEqual([1, 1, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
  session.dispose();
});

it("warping finds joined digits that are spoken slower, with silence between", () => {
  const frame = (band: number) => Array.from({ length: width }, (_, b) => (b === band ? 5 : 0));
  const templates = [
    { digit: 3, frames: Float32Array.from([1, 2, 3].flatMap(frame)) },
    { digit: 7, frames: Float32Array.from([4, 5].flatMap(frame)) },
  ];
  const silence = Array<number>(2 * width).fill(-1);
  const x = Float32Array.from([...[1, 1, 2, 3, 3, 4, 4, 5].flatMap(frame), ...silence, ...[1, 2, 3].flatMap(frame)]);
  expect(connected(x, templates, { pause: 2, penalty: 0.1 })).toEqual([3, 7, 3]);
});

it("errors count digits put in, taken out and changed; rows are the same each time", async () => {
  expect(distance([1, 2, 3], [1, 3])).toBe(1);
  expect(distance([1, 2], [2, 1])).toBe(2);
  expect(distance([], [4, 4])).toBe(2);
  expect(
    digitError(
      [
        [1, 2],
        [3, 4],
      ],
      [[1, 2], [3]],
    ),
  ).toBe(0.25);
  const [a, b] = [await unseen(3), await unseen(2)];
  expect(a.slice(0, 2)).toEqual(b);
  for (const { digits } of a) expect(digits.length).toBeGreaterThanOrEqual(3);
});
