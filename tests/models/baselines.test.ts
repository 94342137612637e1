/** What the systems of models/ are measured by: distances and components that are known. */

import { describe, expect, it } from "vitest";
import { frechetDistance } from "../../models/frechet.js";
import { principalComponents } from "../../models/pca.js";
import { randomOf } from "../../runtime/data/random.js";

/** Normal numbers, each column with its own deviation. */
function points(rows: number, deviations: readonly number[], seed: number): Float32Array {
  const random = randomOf(seed);
  return Float32Array.from(
    { length: rows * deviations.length },
    (_, i) => deviations[i % deviations.length]! * random.normal(),
  );
}

describe("Fréchet distance", () => {
  const a = points(4000, [1, 2, 0.5, 1], 1);

  it("is 0 between a set and itself, and grows by the square of a shift", () => {
    expect(frechetDistance(a, a, 4)).toBeCloseTo(0, 6);
    const moved = a.map((v) => v + 0.5);
    expect(frechetDistance(a, moved, 4)).toBeCloseTo(4 * 0.25, 3);
  });

  it("of two normal distributions without covariances is that of their deviations", () => {
    const b = points(4000, [2, 1, 0.5, 1], 2);
    expect(frechetDistance(a, b, 4)).toBeGreaterThan(1.85);
    expect(frechetDistance(a, b, 4)).toBeLessThan(2.15);
  });

  it("stays finite where a feature never changes", () => {
    const flat = a.map((v, i) => (i % 4 === 0 ? 3 : v));
    expect(frechetDistance(flat, flat, 4)).toBeCloseTo(0, 6);
  });
});

it("principal components are the axes of largest variance, orthonormal", () => {
  const { mean, components } = principalComponents(points(2000, [0.1, 3, 1], 3), 3, 2);
  expect(Math.max(...mean.map(Math.abs))).toBeLessThan(0.3);
  expect(Math.abs(components[0]![1]!)).toBeGreaterThan(0.99);
  expect(Math.abs(components[1]![2]!)).toBeGreaterThan(0.99);
  expect(components[0]!.reduce((sum, v, i) => sum + v * components[1]![i]!, 0)).toBeCloseTo(0, 6);
});
