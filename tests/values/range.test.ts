import { expect, it } from "vitest";
import { type DType, dtypeInfo } from "../../ir/dtype.js";
import { constant } from "../../ir/ops/constant.js";
import { tensorFrom } from "../../ir/tensor.js";
import { contentsOf } from "../../passes/values/index.js";
import { randomNumbers } from "../kernels/run.js";

/** Of each dtype many constants, small and large in turn, so that engines replace the loop over elements in its midst. */
it("of constants is that of their elements", () => {
  const next = randomNumbers(7);
  const dtypes: readonly DType[] = ["u8", "i8", "i32", "f32", "i16", "u16"];
  for (let round = 0; round < 120; round++) {
    const dtype = dtypes[round % dtypes.length]!;
    const length = [3, 40_000, 1, 900, 150_000][round % 5]!;
    const { kind } = dtypeInfo[dtype];
    const [shift, scale] = [dtype.startsWith("u") ? 1 : round % 3, kind === "float" ? 3.7 : 60];
    const values = Array.from({ length }, () => {
      const x = (next() + shift) * scale;
      return kind === "float" ? Math.fround(x) : Math.floor(Math.min(x, 127));
    });
    const { low, high } = contentsOf(constant([], { value: tensorFrom(dtype, [length], values) })).each;
    const sorted = Float64Array.from(values).sort();
    const isRead = kind !== "float" || Number.isFinite(low);
    if (!isRead) continue;
    expect([low, high], `${dtype}[${length}]`).toEqual([sorted[0], sorted.at(-1)]);
  }
});

it("leaves NaN aside, wherever it stands", () => {
  const of = (...values: number[]) =>
    contentsOf(constant([], { value: tensorFrom("f32", [values.length], values) })).each;
  expect(of(Number.NaN, 2, -1)).toMatchObject({ low: -1, high: 2, whole: false });
  expect(of(2, Number.NaN, -1)).toMatchObject({ low: -1, high: 2, whole: false });
  expect(of(2, 5, Number.NaN)).toMatchObject({ low: 2, high: 5, whole: false });
  expect(of(Number.NaN, Number.NaN, 0.5)).toMatchObject({ low: 0.5, high: 0.5, whole: false });
});
