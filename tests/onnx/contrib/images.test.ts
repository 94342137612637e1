import { describe, it } from "vitest";
import { at, byIndex, checkOp, draws, f32, float, i32, i64 } from "./check.js";
import { roundEven, sum } from "./formulas.js";

const d = draws(41);

describe("CropAndResize", () => {
  const x = d.floats([2, 2, 5, 4]);
  const boxes = f32([3, 4], [0, 0, 1, 1, 0.2, -0.1, 0.7, 0.9, 0.8, 0.3, 0.1, 1.2]);
  const owners = i32([3], [0, 1, 1]);
  const outside = -3;

  it.each([
    ["bilinear", [3, 4]],
    ["nearest", [3, 4]],
    ["bilinear", [1, 2]],
  ] as const)("%s to %j", async (mode, crop) => {
    /** Where cell i of an axis lies in the image. */
    const place = (r: number, axis: 0 | 1, i: number) => {
      const last = x.shape[2 + axis]! - 1;
      const [from, to] = [at(boxes)(r, axis), at(boxes)(r, axis + 2)];
      return crop[axis] > 1 ? from * last + (i * (to - from) * last) / (crop[axis] - 1) : 0.5 * (from + to) * last;
    };
    const y = byIndex([3, 2, crop[0], crop[1]], (r, c, i, j) => {
      const [v, h] = [place(r, 0, i), place(r, 1, j)];
      if (v < 0 || v > 4 || h < 0 || h > 3) return outside;
      const pixel = (p: number, q: number) => at(x)(at(owners)(r), c, p, q);
      if (mode === "nearest") return pixel(roundEven(v), roundEven(h));
      const [p, q] = [Math.floor(v), Math.floor(h)];
      const row = (line: number) => pixel(line, q) * (1 - (h - q)) + pixel(line, Math.min(q + 1, 3)) * (h - q);
      return row(p) * (1 - (v - p)) + row(Math.min(p + 1, 4)) * (v - p);
    });
    await checkOp({
      op: "CropAndResize",
      inputs: [x, boxes, owners, i32([2], crop)],
      constants: [3],
      attrs: { mode, extrapolation_value: float(outside) },
      want: [y],
    });
  });
});

describe("ConvTransposeWithDynamicPads", () => {
  it("cuts what its pads say", async () => {
    const [x, w, b] = [d.floats([1, 2, 4, 4]), d.floats([2, 3, 3, 3]), d.floats([3])];
    const [top, left, bottom, right] = [1, 0, 1, 2];
    const whole = 3 * 2 + 3;
    const y = byIndex([1, 3, whole - top - bottom, whole - left - right], (n, o, i, j) => {
      const [row, column] = [i + top, j + left];
      return (
        at(b)(o) +
        sum(2 * 16, (k) => {
          const [c, p, q] = [k >> 4, (k >> 2) & 3, k & 3];
          const [u, v] = [row - 2 * p, column - 2 * q];
          return u < 0 || u > 2 || v < 0 || v > 2 ? 0 : at(x)(n, c, p, q) * at(w)(c, o, u, v);
        })
      );
    });
    await checkOp({
      op: "ConvTransposeWithDynamicPads",
      inputs: [x, w, i64([4], [top, left, bottom, right]), b],
      constants: [2],
      attrs: { strides: [2, 2] },
      want: [y],
    });
  });
});
