import { describe, it } from "vitest";
import { addTensor } from "../../compiler/kernels/epilogue.js";
import { type InterleaveSpec, interleave } from "../../compiler/kernels/interleave.js";
import { Arena } from "./run.js";

interface Case extends Omit<InterleaveSpec, "epilogue"> {
  readonly images: number;
  /** Of the result. */
  readonly size: readonly [number, number];
  readonly shift: readonly [number, number];
}

/** Chunks in reverse order, against the definition; `other` is added by the epilogue at the element that is stored. */
function check({ lane, phases, channels, images, size: [h, w], shift: [top, left] }: Case): void {
  const [sh, sw] = phases;
  const [blocksH, blocksW] = [Math.ceil((h + top) / sh), Math.ceil((w + left) / sw)];
  const arena = new Arena(16);
  const floats = lane === "f32" ? Float32Array : Float64Array;
  const make = (length: number) => arena.alloc(floats as Float32ArrayConstructor, length, floats.BYTES_PER_ELEMENT);
  const x = make(images * blocksH * blocksW * sh * sw * channels);
  const y = make(images * h * w * channels);
  const other = make(y.length);
  x.forEach((_, i) => {
    x[i] = i + 1;
  });
  other.forEach((_, i) => {
    other[i] = 1 / 1024 / (i + 1);
  });
  const kernel = interleave({ lane, phases, channels, epilogue: addTensor(lane) });
  const run = arena.instantiate(kernel);
  for (let row = images * h - 1; row >= 0; row--)
    run(row, row + 1, x, y, h, w, blocksH, blocksW, top, left, other, channels, 0);
  arena.checkGuards();
  for (let n = 0; n < images; n++)
    for (let i = 0; i < h; i++)
      for (let j = 0; j < w; j++)
        for (let c = 0; c < channels; c++) {
          const [bi, bj] = [Math.floor((i + top) / sh), Math.floor((j + left) / sw)];
          const phase = ((i + top) % sh) * sw + ((j + left) % sw);
          const from = (((n * blocksH + bi) * blocksW + bj) * sh * sw + phase) * channels + c;
          const to = ((n * h + i) * w + j) * channels + c;
          const want = lane === "f32" ? Math.fround(x[from]! + other[to]!) : x[from]! + other[to]!;
          if (y[to] !== want) throw new Error(`${kernel.fn.name} ${h}×${w}: element ${to} is ${y[to]}, not ${want}`);
        }
}

describe("interleave", () => {
  it("phases, channels around vectors, and cropped edges", () => {
    for (const lane of ["f32", "f64"] as const)
      for (const phases of [
        [2, 2],
        [1, 3],
        [3, 2],
      ] as const)
        for (const channels of [1, 3, 4, 5, 8, 11])
          for (const shift of [
            [0, 0],
            [1, 1],
            [2, 4],
          ] as const)
            for (const size of [
              [1, 1],
              [4, 5],
            ] as const)
              check({ lane, phases, channels, images: 2, size, shift });
  });
});
