/** Charts of any values can be drawn: marks are few, told apart, and where they belong. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Chart, drawCharts } from "../../runtime/callbacks/index.js";

/** Sets of values as data have them: of any size, far apart, nearly the same, the same. */
const values = fc
  .record({
    size: fc.constantFrom(0, 5e-324, 1e-300, 1e-30, 1e-3, 1, 7.3, 1e6, 1e30, 1e300, Number.MAX_VALUE),
    centre: fc.constantFrom(-1, 0, 1),
    spread: fc.constantFrom(0, 1e-16, 1e-12, 1e-7, 1e-5, 1.1e-5, 1e-3, 0.5, 1),
    places: fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 20 }),
    strange: fc.array(fc.constantFrom(NaN, Infinity, -Infinity), { maxLength: 2 }),
  })
  .map(({ size, centre, spread, places, strange }) => [
    ...places.map((p) => size * (centre === 0 ? spread * p : centre * (1 - spread / 2 + (spread / 2) * p))),
    ...strange,
  ]);

const chart = fc.record({
  xs: values,
  ys: values,
  logarithmic: fc.boolean(),
  equalUnits: fc.boolean(),
  dots: fc.boolean(),
});

/** Text as numbers, of the marks along an axis. */
function marksOf(svg: string) {
  const texts = [...svg.matchAll(/<text x="([^"]*)" y="([^"]*)"[^>]*text-anchor="(end|middle)">([^<]*)</g)];
  const of = (anchor: string) => texts.filter((t) => t[3] === anchor && t[4] !== "along").map((t) => t[4]!);
  return { across: of("middle"), down: of("end") };
}

describe("drawCharts", () => {
  it("marks axes with some different numbers, and draws inside them, whatever the values are", () => {
    fc.assert(
      fc.property(chart, ({ xs, ys, logarithmic, equalUnits, dots }) => {
        const line = xs.map((x, i) => [x, ys[i % ys.length]!] as const);
        const drawn: Chart = {
          title: "",
          axis: "along",
          lines: { line },
          dots: dots ? ["line"] : [],
          logarithmic,
          equalUnits,
        };
        const svg = drawCharts("All kinds", [drawn]);
        expect(svg).not.toMatch(/NaN|Infinity|undefined/);
        for (const marks of Object.values(marksOf(svg))) {
          expect(marks.length).toBeGreaterThanOrEqual(1);
          expect(marks.length).toBeLessThanOrEqual(12);
          expect(new Set(marks).size, marks.join(" ")).toBe(marks.length);
          for (const mark of marks) expect(mark.length, mark).toBeLessThanOrEqual(14);
        }
        for (const [, x, y] of svg.matchAll(/[ML](\S+) ([^"MLh]+)/g)) {
          expect(Number(x)).toSatisfy((v: number) => v >= 63.9 && v <= 428.1);
          expect(Number(y)).toSatisfy((v: number) => v >= 35.9 && v <= 256.1);
        }
      }),
      { numRuns: 2000 },
    );
  });

  const marks = (ys: readonly number[], options: Partial<Chart> = {}) =>
    marksOf(drawCharts("", [{ title: "", axis: "along", lines: { line: ys.map((y, x) => [x, y]) }, ...options }])).down;

  it("chooses round numbers, with the digits that they need", () => {
    expect(marks([0, 1])).toEqual(["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    expect(marks([-3, 17])).toEqual(["0", "5", "10", "15"]);
    expect(marks([1000.1, 1000.2])).toEqual(["1000.1", "1000.12", "1000.14", "1000.16", "1000.18", "1000.2"]);
    expect(marks([0, 2.5e-9])).toEqual(["0", "5e-10", "1e-9", "1.5e-9", "2e-9", "2.5e-9"]);
  });

  it("takes values that differ by rounding alone for equal", () => {
    expect(marks([5, 5 + 1e-15])).toEqual(marks([5, 5]));
    expect(marks([0, 5e-324])).toEqual(marks([0, 0]));
  });

  it("marks powers of ten where values grow by factors", () => {
    expect(marks([1e-3, 20], { logarithmic: true })).toEqual(["0.001", "0.01", "0.1", "1", "10"]);
    expect(marks([0.3, 2.5], { logarithmic: true })).toEqual(["0.5", "1", "2"]);
    expect(marks([1, 1.2], { logarithmic: true })).toEqual(["1", "1.05", "1.1", "1.15", "1.2"]);
    expect(marks([-1, 0], { logarithmic: true }).length).toBeGreaterThan(0);
  });

  it("makes units as long down as across", () => {
    const lines = {
      square: [
        [0, 0],
        [1, 1],
      ] as const,
    };
    const svg = drawCharts("", [{ title: "", axis: "along", lines, dots: ["square"], equalUnits: true }]);
    const [[, x0, y0], [, x1, y1]] = [...svg.matchAll(/M(\S+) ([^h]+)h0/g)] as unknown as [string[], string[]];
    expect(Number(x1) - Number(x0!)).toBeCloseTo(Number(y0) - Number(y1!), 0);
  });

  it("names the lines where there are several", () => {
    const lines = Object.fromEntries(["a<b", "c", "d", "e", "f"].map((name) => [name, [[0, 1] as const]]));
    const svg = drawCharts("Names", [{ title: "Five", axis: "along", lines }]);
    for (const name of ["a&lt;b", "c", "d", "e", "f"]) expect(svg).toContain(`>${name}</text>`);
    expect(svg).toContain('height="332"');
  });
});
