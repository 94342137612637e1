/** What detectors of models/ share: boxes in graphs, how well boxes are found, and the scenes. */

import { expect, it } from "vitest";
import { compile, F, program } from "../../index.js";
import { scenes } from "../../models/data/scenes.js";
import {
  averagePrecision,
  intersectionOverUnion,
  meanAveragePrecision,
} from "../../models/detection/average-precision.js";
import { anchorGrid, deltasOf, detections, matched, moved, overlaps } from "../../models/detection/boxes.js";
import { components } from "../../models/detection/components.js";
import { drawn } from "../../models/detection/draw.js";
import { boxesOf, foundOf } from "../../models/detection/rows.js";
import { floats } from "../../models/values.js";
import { load } from "../../runtime/index.js";

const box = (...corners: readonly number[]) => ({ corners, label: 0 });
const scored = (score: number, ...corners: readonly number[]) => ({ ...box(...corners), score });

it("average precision: each box is found once, and a second one is wrong", () => {
  expect(intersectionOverUnion([0, 0, 2, 2], [1, 0, 3, 2])).toBeCloseTo(1 / 3);
  expect(intersectionOverUnion([0, 0, 2, 2], [2, 2, 3, 3])).toBe(0);
  const there = [[box(0, 0, 4, 4), box(6, 6, 9, 9)], [box(0, 0, 4, 4)]];
  const found = [
    [scored(0.9, 0, 0, 4, 4), scored(0.8, 0, 0, 4, 3.9)],
    [scored(0.7, 0, 0, 4, 5), scored(0.6, 5, 5, 6, 6)],
  ];
  // Right, wrong, right, wrong: precision 1 up to recall 1/3, 2/3 up to recall 2/3.
  expect(averagePrecision(found, there)).toBeCloseTo(1 / 3 + 2 / 9);
  expect(averagePrecision(found, there, 0.9)).toBeCloseTo(1 / 3);
  expect(averagePrecision([[], []], [[], []])).toBeNaN();
  const other = there.map((boxes) => [...boxes, { corners: [0, 0, 1, 1], label: 7 }]);
  expect(meanAveragePrecision(found, other)).toBeCloseTo((1 / 3 + 2 / 9) / 2);
});

it("boxes of graphs overlap, move, match and suppress one another as they should", { timeout: 120_000 }, async () => {
  const p = program(
    {},
    {
      look: {
        inputs: { boxes: [1, 3, 4], scores: [1, 2, 3], truth: [1, 2, 5] },
        training: false,
        run: (ctx, { boxes, scores, truth }) => {
          const anchors = anchorGrid([1, 2], 8, [[8, 8]], 0.5);
          const { positive, negative, label, corners } = matched(anchors, truth, { above: 0.9 });
          return {
            shares: overlaps(boxes, boxes),
            anchors,
            back: moved(deltasOf(corners, anchors, [10, 5]), anchors, [10, 5]),
            corners,
            label,
            positive: F.cast(positive, "f32"),
            negative: F.cast(negative, "f32"),
            found: detections(ctx, boxes, scores, { most: 4, score: 0.3 }),
          };
        },
      },
    },
    { fit: false },
  );
  const session = await load(await compile(p, { variants: ["simd128"] }), { threads: 1 });
  const got = await session.look({
    boxes: Float32Array.of(0, 0, 4, 4, 0, 0, 4, 3, 2, 0, 6, 4),
    scores: Float32Array.of(0.5, 0.6, 0.2, 0.9, 0.1, 0.4),
    truth: Float32Array.of(1, 0, 7, 6, 5, -1, -1, -1, -1, -1),
  });
  session.dispose();
  const near = (value: Parameters<typeof floats>[0], want: readonly number[]) => {
    expect(floats(value).length).toBe(want.length);
    want.forEach((v, i) => {
      expect(floats(value)[i]).toBeCloseTo(v, 4);
    });
  };
  near(
    got.shares,
    [1, 0.75, 1 / 3, 0.75, 1, 3 / 11, 1 / 3, 3 / 11, 1].map((v, i) => (i === 5 || i === 7 ? 6 / 22 : v)),
  );
  near(got.anchors, [0, 0, 8, 8, 8, 0, 16, 8]);
  // None overlaps by 0.9, so the best one is to find the box.
  near(got.positive, [1, 0]);
  near(got.negative, [0, 1]);
  near(got.corners, [1, 0, 7, 6, 1, 0, 7, 6]);
  near(got.back, [1, 0, 7, 6, 1, 0, 7, 6]);
  expect(floats(got.label)[0]).toBe(5);
  near(
    got.found,
    [0, 0, 4, 4, 0.9, 1, 0, 0, 4, 3, 0.6, 0, 2, 0, 6, 4, 0.4, 1].concat(Array.from(floats(got.found)).slice(18)),
  );
  expect(foundOf(floats(got.found), 4)[0]!.map((f) => f.label)).toEqual([1, 0, 1]);
});

it("scenes are the same for a seed, and boxes are around the ink of digits", async () => {
  const options = { count: 6, seed: 3 };
  const [one, two] = [await scenes("test", options), await scenes("test", options)];
  expect(one.x.data).toEqual(two.x.data);
  boxesOf(one.boxes.data, 3).forEach((boxes, scene) => {
    expect(boxes.length).toBeGreaterThan(0);
    for (const { corners, label } of boxes) {
      const [x1, y1, x2, y2] = Array.from(corners) as [number, number, number, number];
      expect(0 <= x1 && x1 < x2 && x2 <= 48 && 0 <= y1 && y1 < y2 && y2 <= 48).toBe(true);
      const inked = Array.from({ length: (x2 - x1) * (y2 - y1) }, (_, i) => {
        const [x, y] = [x1 + (i % (x2 - x1)), y1 + Math.floor(i / (x2 - x1))];
        return one.mask.data[(scene * 48 + y) * 48 + x];
      });
      expect(inked).toContain(label + 1);
    }
  });
});

it("connected ink is one component, small specks are none; boxes are drawn", () => {
  const pixels = new Float32Array(20 * 20);
  for (let i = 0; i < 6; i++) for (const x of [2, 3]) pixels[(4 + i) * 20 + x + i] = 1;
  pixels[19] = 1;
  expect(components(pixels, 20)).toEqual([[2, 4, 9, 10]]);
  const png = drawn([{ pixels, boxes: [{ ...box(2, 4, 9, 10), right: true }] }], { side: 20, columns: 1 });
  expect([...png.subarray(1, 4)]).toEqual([..."PNG"].map((c) => c.charCodeAt(0)));
});
