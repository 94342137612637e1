import { expect, it } from "vitest";
import { chooseTile } from "../../compiler/kernels/choose-tile.js";

const fused = { mr: 6, nr: 8 };
const tall = { mr: 4, nr: 8, fused };
const wide = { mr: 2, nr: 16 };

it("takes the tall tile for narrow results and the wide one for few rows", () => {
  expect(chooseTile("f32", { rows: 50000, columns: 6 })).toEqual(tall);
  expect(chooseTile("f32", { rows: 960, columns: 8 })).toEqual(tall);
  expect(chooseTile("f32", { rows: 960, columns: 20 })).toEqual(tall);
  expect(chooseTile("f32", { rows: 1, columns: 1024 })).toEqual(wide);
  expect(chooseTile("f32", { rows: 1, rowsVary: true, columns: 120 })).toEqual({ ...wide, fused });
  expect(chooseTile("i32", { rows: 960, columns: 8 })).toEqual({ mr: 4, nr: 8 });
  expect(chooseTile("f64", { rows: 1, columns: 100 })).toEqual({ mr: 2, nr: 8 });
});
