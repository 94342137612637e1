/**
 * RoiAlign as torchvision has it: a transcription of the loops of torchvision/csrc/ops/cpu/roi_align_kernel.cpp, and values that
 * its libraries test with. ONNX's own node tests (test_roialign_*) run in tests/onnx/conformance.test.ts.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F, grad, nn, program } from "../../compiler/dsl/index.js";
import { load, type Session, type Tensor } from "../../runtime/index.js";

const [images, channels, height, width] = [2, 3, 7, 9];
const output = [2, 3] as const;

/** Value of one channel at a point. */
function interpolated(pixels: Float32Array, rows: number, columns: number, y: number, x: number): number {
  if (y < -1 || y > rows || x < -1 || x > columns) return 0;
  const limited = (at: number, size: number) => {
    const start = Math.max(at, 0);
    const low = Math.trunc(start);
    return low >= size - 1 ? { low: size - 1, high: size - 1, at: size - 1 } : { low, high: low + 1, at: start };
  };
  const [v, h] = [limited(y, rows), limited(x, columns)];
  const [ly, lx] = [v.at - v.low, h.at - h.low];
  const pixel = (r: number, c: number) => pixels[r * columns + c]!;
  return (
    (1 - ly) * (1 - lx) * pixel(v.low, h.low) +
    (1 - ly) * lx * pixel(v.low, h.high) +
    ly * (1 - lx) * pixel(v.high, h.low) +
    ly * lx * pixel(v.high, h.high)
  );
}

interface Settings {
  readonly spatialScale: number;
  readonly samplingRatio: number;
  readonly aligned: boolean;
}

/** Boxes [K, 5] of x [N, C, H, W]: [K, C, …output]. */
function transcribed(x: Float32Array, boxes: readonly (readonly number[])[], settings: Settings): number[] {
  const { spatialScale, samplingRatio, aligned } = settings;
  const offset = aligned ? 0.5 : 0;
  const plane = height * width;
  const [pooledHeight, pooledWidth] = output;
  return boxes.flatMap(([image, ...box]) => {
    const [startX, startY, endX, endY] = box.map((v) => Math.fround(v * spatialScale) - offset) as [
      number,
      number,
      number,
      number,
    ];
    let [roiWidth, roiHeight] = [endX - startX, endY - startY];
    if (!aligned) [roiWidth, roiHeight] = [Math.max(roiWidth, 1), Math.max(roiHeight, 1)];
    const [binHeight, binWidth] = [roiHeight / pooledHeight, roiWidth / pooledWidth];
    const gridHeight = samplingRatio > 0 ? samplingRatio : Math.ceil(binHeight);
    const gridWidth = samplingRatio > 0 ? samplingRatio : Math.ceil(binWidth);
    const count = Math.max(gridHeight * gridWidth, 1);
    const values: number[] = [];
    for (let c = 0; c < channels; c++)
      for (let ph = 0; ph < pooledHeight; ph++)
        for (let pw = 0; pw < pooledWidth; pw++) {
          const at = (image! * channels + c) * plane;
          const pixels = x.subarray(at, at + plane);
          let sum = 0;
          for (let iy = 0; iy < gridHeight; iy++)
            for (let ix = 0; ix < gridWidth; ix++) {
              const y = startY + ph * binHeight + ((iy + 0.5) * binHeight) / gridHeight;
              const xx = startX + pw * binWidth + ((ix + 0.5) * binWidth) / gridWidth;
              sum += interpolated(pixels, height, width, y, xx);
            }
          values.push(sum / count);
        }
    return values;
  });
}

const settings = [false, true].flatMap((aligned) =>
  [0, 1, 2, 3].map(
    (samplingRatio): Settings => ({ aligned, samplingRatio, spatialScale: samplingRatio % 2 ? 0.5 : 1 }),
  ),
);
const nameOf = ({ aligned, samplingRatio }: Settings) => `${aligned ? "aligned" : "plain"}${samplingRatio}`;

let session: Session & Record<string, (feeds: object) => Promise<Record<string, Tensor>>>;
beforeAll(async () => {
  const none = nn.Identity();
  const x = [images, channels, height, width];
  const entries = settings.map((s) => [
    nameOf(s),
    {
      inputs: { x, boxes: ["k", 5] },
      training: false,
      run: (ctx: never, v: Record<"x" | "boxes", never>) => ({ y: F.roiAlign(ctx, v.x, v.boxes, output, s) }),
    },
  ]);
  const gradients = settings.map((s) => [
    `${nameOf(s)}Gradient`,
    {
      inputs: { x, boxes: ["k", 5], dy: ["k", channels, ...output] },
      training: false,
      run: (ctx: never, v: Record<"x" | "boxes" | "dy", never>) => ({
        dx: grad(F.roiAlign(ctx, v.x, v.boxes, output, s).mul(v.dy).sum(), v.x),
      }),
    },
  ]);
  const ramp = {
    inputs: { x: [1, 1, 5, 5] },
    training: false,
    run: (ctx: never, v: Record<"x", never>) => {
      const box = F.constant([[0, 1, 1, 3, 3]]);
      return { plain: F.roiAlign(ctx, v.x, box, 4), aligned: F.roiAlign(ctx, v.x, box, 4, { aligned: true }) };
    },
  };
  const p = program(none, Object.fromEntries([...entries, ...gradients, ["ramp", ramp]]) as never);
  session = (await load(await compile(p, { variants: ["simd128"] }))) as never;
});
afterAll(() => session.dispose());

const coordinate = fc.double({ min: -6, max: 15, noNaN: true }).map(Math.fround);
const box = fc
  .tuple(fc.integer({ min: 0, max: images - 1 }), coordinate, coordinate, coordinate, coordinate)
  .map(([image, x1, y1, w, h]) => [image, x1, y1, Math.fround(x1 + w / 2), Math.fround(y1 + h / 2)]);
const boxes = fc.array(box, { minLength: 1, maxLength: 4 });
const picture = (seed: number) =>
  Float32Array.from({ length: images * channels * height * width }, (_, i) => Math.fround(Math.sin(i * 1.7 + seed)));

/** Samples that lie at the rim of what counts, or cells that are a whole number of pixels, may fall to either side by rounding. */
function isClear(list: readonly (readonly number[])[], { spatialScale, samplingRatio, aligned }: Settings): boolean {
  const close = (v: number, to: number) => Math.abs(v - to) < 1e-3;
  return list.every(([, x1, y1, x2, y2]) =>
    (
      [
        [x1!, x2!, output[1], width],
        [y1!, y2!, output[0], height],
      ] as const
    ).every(([low, high, cells, size]) => {
      const start = low * spatialScale - (aligned ? 0.5 : 0);
      const extent = (high - low) * spatialScale;
      const cell = (aligned ? extent : Math.max(extent, 1)) / cells;
      const grid = samplingRatio || Math.ceil(cell);
      if (samplingRatio === 0 && extent > 0 && close(cell, Math.round(cell)) && cell !== 1 / cells) return false;
      for (let i = 0; i < cells * grid; i++) {
        const at = start + (i + 0.5) * (cell / grid);
        if (close(at, -1) || close(at, size)) return false;
      }
      return true;
    }),
  );
}

describe.each(settings.map((s) => [nameOf(s), s] as const))("roiAlign %s", (name, s) => {
  it("gives what torchvision's loops give, of boxes anywhere", async () => {
    await fc.assert(
      fc.asyncProperty(boxes, fc.integer({ min: 0, max: 99 }), async (list, seed) => {
        fc.pre(isClear(list, s));
        const x = picture(seed);
        const { y } = await session[name]!({ x, boxes: Float32Array.from(list.flat()) });
        const wanted = transcribed(x, list, s);
        expect(y!.shape).toEqual([list.length, channels, ...output]);
        Array.from(y!.data as Float32Array).forEach((v, i) => {
          expect(Math.abs(v - wanted[i]!), `element ${i}`).toBeLessThan(2e-4);
        });
      }),
      { numRuns: 150 },
    );
  });

  it("has the gradient of what is linear in the image", async () => {
    const list = [
      [0, 0.3, 1.2, 5.1, 6.3],
      [1, -2.1, -1.4, 3.3, 2.2],
      [1, 4.2, 3.1, 12.7, 9.9],
    ];
    const dy = Float32Array.from({ length: list.length * channels * 6 }, (_, i) => Math.cos(i));
    const { dx } = await session[`${name}Gradient`]!({ x: picture(1), boxes: Float32Array.from(list.flat()), dy });
    for (const pixel of [0, 5, 31, 62, 63 + 20, 3 * 63 + 4, 4 * 63 + 30, 5 * 63 + 62]) {
      const one = new Float32Array(images * channels * height * width);
      one[pixel] = 1;
      const wanted = transcribed(one, list, s).reduce((sum, v, i) => sum + v * dy[i]!, 0);
      expect(dx!.data[pixel] as number).toBeCloseTo(wanted, 4);
    }
  });
});

// tests/layers/test_roi_align.py of detectron2, whose ROIAlign is torchvision's.
it("roiAlign of a ramp is what detectron2 tests torchvision's with", async () => {
  const found = await session.ramp!({ x: Float32Array.from({ length: 25 }, (_, i) => i) });
  const rows = (first: number) => [0, 1, 2, 3].flatMap((r) => [0, 1, 2, 3].map((c) => first + 2.5 * r + 0.5 * c));
  expect(Array.from(found.plain!.data as Float32Array)).toEqual(rows(7.5));
  expect(Array.from(found.aligned!.data as Float32Array)).toEqual(rows(4.5));
});
