/** Average precision of boxes over batches of unequal sizes, compiled, against a plain implementation. */

import { expect, it } from "vitest";
import { ModelError, metrics, param } from "../../index.js";
import { type Data, expectMetric, generator, samples } from "./metric-stream.js";

const [K, M, C] = [6, 4, 3];
const next = generator(5);
type Box = readonly number[];

/** A box of some size somewhere in [0, 4]². */
const box = (): Box => {
  const [x, y] = [next() * 3, next() * 3];
  return [x, y, x + 0.4 + next(), y + 0.4 + next()].map(Math.fround);
};

interface Image {
  /** x₁, y₁, x₂, y₂, class. */
  readonly targets: readonly Box[];
  /** x₁, y₁, x₂, y₂, score, class. */
  readonly found: readonly Box[];
}

/** Some boxes are near a target, some twice, some elsewhere, some of another class, some are none. */
const images: readonly Image[] = Array.from({ length: samples }, (_, n) => {
  const targets = Array.from({ length: M }, (_, i) => [...box(), i < 1 + (n % M) ? Math.floor(next() * 2) : -1]);
  const found = Array.from({ length: K }, (_, i) => {
    const t = targets[Math.floor(next() * (1 + (n % M)))]!;
    const near = i < 4 ? t.slice(0, 4).map((v) => Math.fround(v + (next() - 0.5) * 0.3)) : box();
    const score = n % 3 === 0 && i === 2 ? 0 : Math.fround(0.02 + 0.96 * next());
    return [...near, score, i === 3 ? 2 : t[4]!];
  });
  return { targets, found };
});

function overlap(a: Box, b: Box): number {
  const side = (i: number) => Math.max(0, Math.min(a[i + 2]!, b[i + 2]!) - Math.max(a[i]!, b[i]!));
  const area = (v: Box) => (v[2]! - v[0]!) * (v[3]! - v[1]!);
  const both = side(0) * side(1);
  return both / (area(a) + area(b) - both);
}

/** By the scores' order, with the largest precision at each recall or a higher one. */
function meanPrecision(iou: number): number {
  const each = Array.from({ length: C }, (_, c) => {
    const targets = images.reduce((n, i) => n + i.targets.filter((t) => t[4] === c).length, 0);
    if (targets === 0) return undefined;
    const judged = images.flatMap(({ targets: all, found }) => {
      const free = all.filter((t) => t[4] === c);
      return found
        .filter((f) => f[5] === c && f[4]! > 0)
        .sort((a, b) => b[4]! - a[4]!)
        .map((f) => {
          const best = free.map((t) => overlap(f, t)).reduce((top, v, i, list) => (v > (list[top] ?? -1) ? i : top), 0);
          const hit = free.length > 0 && overlap(f, free[best]!) >= iou;
          if (hit) free.splice(best, 1);
          return [f[4]!, hit] as const;
        });
    });
    judged.sort((a, b) => b[0] - a[0]);
    const precision = judged.map((_, i) => judged.slice(0, i + 1).filter(([, hit]) => hit).length / (i + 1));
    return judged.reduce((sum, [, hit], i) => sum + (hit ? Math.max(...precision.slice(i)) / targets : 0), 0);
  }).filter((v) => v !== undefined);
  return each.reduce((a, b) => a + b, 0) / each.length;
}

const data: Data = {
  shape: [K, 6],
  output: images.flatMap((i) => i.found.flat()),
  targetShape: [M, 5],
  target: images.flatMap((i) => i.targets.flat()),
  targetType: "f32",
};

it.each([0.3, 0.5, 0.75])("boxes that overlap by %d", async (iou) => {
  const want = meanPrecision(iou);
  expect(want).toBeGreaterThan(0.01);
  expect(want).toBeLessThan(0.99);
  // 1,000 bins tell all scores of a class apart.
  await expectMetric(metrics.boxAveragePrecision({ classes: C, iou, bins: 1000 }), data, want);
});

it("needs boxes and the number of classes", () => {
  expect(() => metrics.boxAveragePrecision()).toThrow(ModelError);
  const boxes = param("boxes", { dtype: "f32", shape: [2, K, 5] });
  expect(() => metrics.boxAveragePrecision({ classes: 3 })(boxes, boxes)).toThrow(/boxes \[N, K, 6\]/);
});
