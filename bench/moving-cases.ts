/** Kernels that move elements or compare them; what is counted as an operation is an element of the result, or a tap. */

import { maxPoolRows } from "../compiler/kernels/pool-rows.js";
import { type TransposeSpec, transpose } from "../compiler/kernels/transpose.js";
import type { Case } from "./kernel-cases.js";

/** A matrix of rows × columns, as lowering cuts it where it is no larger than a band. */
function transposeCase(rows: number, columns: number, few?: TransposeSpec["few"]): Case {
  return {
    name: `transpose ${rows}x${columns}${few ? ` few ${few.axis}` : ""} (elements)`,
    flops: rows * columns,
    calls: (alloc) => {
      const kernel = transpose({ elem: "f32", outer: 0, ...(few && { few }) });
      const length = rows * columns;
      return [{ kernel, args: [0, 1, alloc(length), alloc(length), rows, columns, columns, rows, length, 1, 1, 1] }];
    },
  };
}

/** Images of one channel each, in bands of 8 rows. */
function maxPoolRowsCase(size: number, channels: number, window: number, stride: number, pad: number): Case {
  const out = Math.floor((size + 2 * pad - window) / stride) + 1;
  const band = 8;
  const bands = Math.ceil(out / band);
  return {
    name: `max pool ${channels}x${size}x${size} k${window}s${stride} by rows (taps)`,
    flops: channels * out * out * window * window,
    calls: (alloc) => {
      const kernel = maxPoolRows({
        elem: "f32",
        window: [1, window, window],
        strides: [1, stride, stride],
        dilations: [1, 1, 1],
        padLow: [0, pad, pad],
        padHigh: [0, pad, pad],
      });
      const scratch = alloc((size + 2 * pad) * ((band - 1) * stride + window));
      const buffers = [alloc(channels * size * size), alloc(channels * out * out), scratch];
      return [{ kernel, args: [0, channels * bands, ...buffers, size, size, out, out, band, bands] }];
    },
  };
}

export const movingCases: readonly Case[] = [
  transposeCase(64, 3136),
  transposeCase(3136, 64),
  transposeCase(50176, 3, { axis: "columns", count: 3 }),
  transposeCase(3, 50176, { axis: "rows", count: 3 }),
  maxPoolRowsCase(112, 64, 2, 2, 0),
  maxPoolRowsCase(112, 64, 3, 2, 1),
  maxPoolRowsCase(28, 192, 3, 1, 1),
];
