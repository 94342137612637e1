/** Augmentation: each operation against its definition, in both layouts, with the same results for the same seed. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  augment,
  centerCrop,
  color,
  crop,
  cutmix,
  dataset,
  flip,
  type Image,
  type ImageOp,
  maybe,
  mixup,
  normalize,
  type Random,
  randomOf,
  resize,
  rotate,
  shift,
  type Tensor,
} from "../../runtime/data/index.js";

const range = (n: number): number[] => [...Array(n).keys()];
type Kind = Image["dtype"];

/** Pixels by channel, row and column, and back. */
type Pixels = readonly (readonly (readonly number[])[])[];
function imageOf(pixels: Pixels, dtype: Kind, layout: "CHW" | "HWC"): Image {
  const [channels, height, width] = [pixels.length, pixels[0]!.length, pixels[0]![0]!.length];
  const order =
    layout === "CHW"
      ? pixels.flat(2)
      : range(height).flatMap((y) => range(width).flatMap((x) => range(channels).map((c) => pixels[c]![y]![x]!)));
  const arrays = { u8: Uint8Array, u16: Uint16Array, f32: Float32Array, f64: Float64Array };
  return { dtype, layout, channels, height, width, data: new arrays[dtype](order) };
}
function pixelsOf({ layout, channels, height, width, data }: Image): number[][][] {
  const at = (c: number, y: number, x: number) =>
    layout === "CHW" ? (c * height + y) * width + x : (y * width + x) * channels + c;
  return range(channels).map((c) => range(height).map((y) => range(width).map((x) => data[at(c, y, x)]!)));
}
const size = fc.integer({ min: 1, max: 6 });
const pixels = (channels: fc.Arbitrary<number>) =>
  fc.tuple(channels, size, size).chain(([c, h, w]) => {
    const row = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: w, maxLength: w });
    return fc.array(fc.array(row, { minLength: h, maxLength: h }), { minLength: c, maxLength: c });
  });
const anyPixels = pixels(fc.constantFrom(1, 3));

/** Draws what it is told. */
const drawing = (...values: readonly (number | boolean)[]): Random => {
  const rest = [...values];
  const next = () => rest.shift() as never;
  return { between: next, integer: next, chance: next, uniform: next } as unknown as Random;
};
const never = drawing();

const ops: Readonly<Record<string, ImageOp>> = {
  crop: crop(1, { padding: 2, fill: 7 }),
  centerCrop: centerCrop([1, 1]),
  flip: flip({ horizontal: 0.5, vertical: 0.5 }),
  shift: shift({ x: 2, y: 0.4, fill: 9 }),
  rotate: rotate(180, { fill: 3 }),
  resize: resize([3, 5]),
  color: color({ brightness: 0.5, contrast: 0.5, saturation: 0.5, hue: 0.5 }),
  maybe: maybe(0.5, flip({ horizontal: 1 }), rotate(20)),
  normalize: normalize({ mean: 0.5, std: 0.25 }),
};

describe.each(Object.entries(ops))("%s", (name, op) => {
  it("does the same in both layouts, in range, and the same again for the same random numbers", () => {
    fc.assert(
      fc.property(anyPixels, fc.constantFrom<Kind>("u8", "u16", "f32", "f64"), fc.nat(), (p, dtype, key) => {
        const scaled = dtype === "f32" || dtype === "f64" ? p.map((c) => c.map((r) => r.map((v) => v / 256))) : p;
        const run = (layout: "CHW" | "HWC") => op(imageOf(scaled, dtype, layout), randomOf(key));
        const [a, b] = [run("CHW"), run("HWC")];
        expect(pixelsOf(b)).toEqual(pixelsOf(a));
        expect(run("CHW")).toEqual(a);
        const kept = name !== "normalize" || dtype === "f64";
        expect(a.dtype).toBe(kept ? dtype : "f32");
        const most = dtype === "u8" ? 255 : dtype === "u16" ? 65535 : 9;
        if (name !== "normalize") for (const v of a.data) expect(v >= 0 && v <= most).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe("what moves pixels", () => {
  it("takes them from where it should", () => {
    fc.assert(
      fc.property(anyPixels, fc.integer({ min: -3, max: 3 }), fc.integer({ min: -3, max: 3 }), (p, dy, dx) => {
        const image = imageOf(p, "u8", "HWC");
        const [h, w] = [image.height, image.width];
        const at = (c: number, y: number, x: number) => p[c]?.[y]?.[x];
        const made = (op: ImageOp, random: Random) => pixelsOf(op(image, random));
        const build = (height: number, width: number, from: (c: number, y: number, x: number) => number | undefined) =>
          p.map((_, c) => range(height).map((y) => range(width).map((x) => from(c, y, x) ?? 5)));
        expect(made(flip(), drawing(true, false))).toEqual(build(h, w, (c, y, x) => at(c, y, w - 1 - x)));
        expect(made(flip(), drawing(false, true))).toEqual(build(h, w, (c, y, x) => at(c, h - 1 - y, x)));
        expect(made(shift({ x: 3, y: 3, fill: 5 }), drawing(dy + 3, dx + 3))).toEqual(
          build(h, w, (c, y, x) => at(c, y + dy, x + dx)),
        );
        expect(made(crop([h, w], { padding: 3, fill: 5 }), drawing(dy + 3, dx + 3))).toEqual(
          build(h, w, (c, y, x) => at(c, y + dy, x + dx)),
        );
        expect(made(resize([h, w]), never)).toEqual(p);
        expect(made(rotate(0), drawing(0))).toEqual(p);
        if (h === w) {
          const turned = pixelsOf(rotate(90)(imageOf(p, "f64", "CHW"), drawing(90)));
          const want = build(h, w, (c, y, x) => at(c, h - 1 - x, y));
          for (const [i, v] of turned.flat(2).entries()) expect(v).toBeCloseTo(want.flat(2)[i]!, 6);
        }
      }),
    );
  });

  it("resizes as PyTorch does", () => {
    // torch.nn.functional.interpolate(a, size, mode="bilinear", align_corners=False), PyTorch 2
    const a: Tensor = { dtype: "f32", shape: [2, 4, 5], data: Float32Array.from(range(40), (i) => (i % 13) / 3) };
    const want = {
      "(3, 4)": [
        0.31944, 0.73611, 1.15278, 1.56944, 2.54167, 2.95833, 2.02083, 1.625, 1.15278, 1.56944, 1.53472, 1.68056,
        2.5625, 2.34722, 2.76389, 3.18056, 2.4375, 0.95833, 1.375, 1.79167, 2.76389, 3.18056, 3.59722, 0.85417,
      ],
      "(2, 2)": [1.08333, 1.91667, 2.25, 0.91667, 1.79167, 2.08333, 2.41667, 2.70833],
      "(8, 10)": [
        0.0, 0.08333, 0.25, 0.41667, 0.58333, 0.75, 0.91667, 1.08333, 1.25, 1.33333, 0.41667, 0.5, 0.66667, 0.83333,
        1.0, 1.16667, 1.33333, 1.5, 1.66667, 1.75, 1.25, 1.33333, 1.5, 1.66667, 1.83333, 2.0, 2.16667, 2.33333, 2.5,
        2.58333, 2.08333, 2.16667, 2.33333, 2.5, 2.66667, 2.5625, 2.1875, 2.08333, 2.25, 2.33333, 2.91667, 3.0, 3.16667,
        3.33333, 3.5, 2.85417, 1.39583, 0.75, 0.91667, 1.0, 2.66667, 2.75, 2.91667, 3.08333, 3.25, 2.60417, 1.14583,
        0.5, 0.66667, 0.75,
      ],
    } as const satisfies Readonly<Record<string, readonly number[]>>;
    for (const [size, values] of Object.entries(want)) {
      const [h, w] = JSON.parse(size.replace("(", "[").replace(")", "]")) as [number, number];
      const got = resize([h, w])(
        { dtype: "f32", layout: "CHW", channels: 2, height: 4, width: 5, data: a.data as Float32Array },
        never,
      );
      for (const [i, v] of values.entries()) expect(got.data[i]).toBeCloseTo(v, 5);
    }
  });

  it("draws its places evenly", () => {
    const image = imageOf([[[0, 1, 2, 3]]], "u8", "CHW");
    const counts = new Map<number, number>();
    for (const i of range(4000)) {
      const [v] = crop([1, 1])(image, randomOf(i)).data;
      counts.set(v!, (counts.get(v!) ?? 0) + 1);
    }
    for (const v of range(4)) expect(Math.abs(counts.get(v)! - 1000)).toBeLessThan(150);
  });
});

describe("what changes values", () => {
  const change = (options: object, p: Pixels, dtype: Kind, ...drawn: readonly number[]) =>
    pixelsOf(color(options)(imageOf(p, dtype, "CHW"), drawing(...drawn)));
  const pixel = (...rgb: readonly number[]): Pixels => rgb.map((v) => [[v]]);
  it("is what ColorJitter is", () => {
    expect(change({ brightness: 0.5 }, pixel(100, 200, 40), "u8", 1.5, 1, 1, 0)).toEqual(pixel(150, 255, 60));
    const two: Pixels = [[[100, 200]], [[100, 200]], [[100, 200]]];
    expect(change({ contrast: 0.5 }, two, "u8", 1, 0.5, 1, 0)).toEqual([[[125, 175]], [[125, 175]], [[125, 175]]]);
    const grey = Math.round(0.299 * 200 + 0.587 * 100 + 0.114 * 50);
    expect(change({ saturation: 1 }, pixel(200, 100, 50), "u8", 1, 1, 0, 0)).toEqual(pixel(grey, grey, grey));
    expect(change({ hue: 0.5 }, pixel(200, 100, 50), "u8", 1, 1, 1, 1 / 3)).toEqual(pixel(50, 200, 100));
    expect(change({ hue: 0.5 }, pixel(255, 0, 0), "u8", 1, 1, 1, 0.5)).toEqual(pixel(0, 255, 255));
    // colorsys: rgb (0.2, 0.6, 0.4), hue + 0.1
    const turned = change({ hue: 0.5 }, pixel(0.2, 0.6, 0.4), "f64", 1, 1, 1, 0.1).flat(2);
    for (const [i, v] of [0.2, 0.56, 0.6].entries()) expect(turned[i]).toBeCloseTo(v, 6);
  });

  it("normalizes integers from 0 to 1, each channel by itself", () => {
    const op = normalize({ mean: [0.5, 0, 0.25], std: [0.5, 1, 2] });
    for (const layout of ["CHW", "HWC"] as const) {
      const got = pixelsOf(op(imageOf([[[255, 0]], [[51, 255]], [[0, 255]]], "u8", layout), never)).flat(2);
      for (const [i, v] of [1, -1, 0.2, 1, -0.125, 0.375].entries()) expect(got[i]).toBeCloseTo(v, 6);
    }
    expect(() => normalize({ mean: [1, 2] })(imageOf([[[1]]], "u8", "CHW"), never)).toThrow(
      /option mean: 2 values for 1 channels/,
    );
  });
});

describe("augment", () => {
  const x: Tensor = { dtype: "u8", shape: [2, 3, 6, 6], data: Uint8Array.from(range(216)) };
  const d = dataset({ x, y: [1, 2] });
  it("changes a field, other ones in every epoch, the same for the same seed", async () => {
    const moved = d.map(augment("x", [shift({ x: 3, y: 3 }), flip()]), { seed: 5 });
    const [first, second] = [await moved.toArray(0), await moved.toArray(1)];
    expect(await moved.toArray(0)).toEqual(first);
    expect(first).not.toEqual(second);
    expect(first.map((e) => e.y)).toEqual([1, 2]);
    expect((first[0]!.x as Tensor).shape).toEqual([3, 6, 6]);
    const plain = await d.map(augment("x", [centerCrop(2), normalize()])).toArray();
    expect(plain[0]!.x).toMatchObject({ dtype: "f32", shape: [3, 2, 2] });
    const spectral: Tensor = { dtype: "f32", shape: [1, 12, 8, 8], data: new Float32Array(768) };
    expect(
      await dataset({ x: spectral })
        .map(augment("x", [centerCrop(6)]))
        .at(0),
    ).toMatchObject({ x: { shape: [12, 6, 6] } });
    const flat: Tensor = { dtype: "f32", shape: [1, 4, 3], data: new Float32Array(12) };
    expect(
      await dataset({ x: flat })
        .map(augment("x", [centerCrop(2)]))
        .at(0),
    ).toMatchObject({ x: { shape: [2, 2] } });
  });

  it("says what does not fit", async () => {
    const wrong: readonly [() => unknown, RegExp][] = [
      [() => d.map(augment("x", [flip()])).at(0), /map: random is for functions .*\n.*pass a seed/],
      [() => d.map(augment("z", [flip()]), { seed: 1 }).at(0), /augment: the element has no field "z"\n.*x, y/],
      [() => d.map(augment("y", [flip()]), { seed: 1 }).at(0), /field "y": expected a tensor, got 1/],
      [() => d.map(augment("x", [crop(9)]), { seed: 1 }).at(0), /crop: 9×9 is more than the image's 6×6/],
      [() => flip({ horizontal: 2 }), /option horizontal: expected a number from 0 to 1/],
      [
        () => d.map(augment("x", [flip()], { layout: "HWC" }), { seed: 1 }).at(0),
        /\[3,6,6\] has 6 channels in the layout HWC\n.*layout: "CHW"/,
      ],
      [() => augment("x", [3 as never]), /augment, the list/],
      [() => rotate(-1), /rotate, the degrees/],
      [() => color({ hue: 0.7 }), /option hue: expected a number from 0 to 0.5/],
      [() => crop(0), /crop, the size/],
      [() => shift({ z: 1 } as never), /option "z": shift has no such option/],
    ];
    for (const [f, message] of wrong) await expect((async () => f())()).rejects.toThrow(message);
  });
});

describe("mixing", () => {
  const n = 6;
  const images = dataset({
    x: range(n).map((i): Tensor => ({ dtype: "f32", shape: [1, 4, 5], data: new Float32Array(20).fill(i) })),
    y: Int32Array.from(range(n)),
  }).batch(n);

  it("mixes images and labels in the same share", async () => {
    const mixed = images.map(mixup({ images: "x", labels: "y", classes: n, alpha: 0.4 }), { seed: 1 });
    for (const epoch of range(20)) {
      const { x, y } = (await mixed.at(0, epoch)) as unknown as { x: Tensor; y: Tensor };
      expect(y).toMatchObject({ dtype: "f32", shape: [n, n] });
      for (const i of range(n)) {
        const row = Array.from(y.data.subarray(i * n, i * n + n) as Float32Array);
        expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
        // An image is its own number everywhere; mixed, the mean by the labels' shares.
        const mean = row.reduce((sum, p, c) => sum + p * c, 0);
        expect(x.data[i * 20]).toBeCloseTo(mean, 4);
        expect(x.data[i * 20 + 19]).toBe(x.data[i * 20]);
      }
    }
    expect(await mixed.at(0, 3)).toEqual(await mixed.at(0, 3));
  });

  it("cuts rectangles whose area is the label's share", async () => {
    for (const [layout, shape] of [
      ["CHW", [1, 4, 5]],
      ["HWC", [4, 5, 1]],
      ["CHW", [4, 5]],
    ] as const) {
      const own = dataset(
        range(n).map((i) => ({
          x: { dtype: "u8", shape, data: new Uint8Array(20).fill(i) } as Tensor,
          y: range(n).map((c) => Number(c === i)),
        })),
      );
      const mixed = own.batch(n).map(cutmix({ images: "x", labels: "y", layout }), { seed: 2 });
      for (const epoch of range(20)) {
        const { x, y } = (await mixed.at(0, epoch)) as unknown as { x: Tensor; y: Tensor };
        for (const i of range(n)) {
          const pixels = Array.from(x.data.subarray(i * 20, i * 20 + 20) as Uint8Array);
          for (const c of range(n)) expect(y.data[i * n + c]).toBeCloseTo(pixels.filter((v) => v === c).length / 20, 5);
          const other = pixels.flatMap((v, at) => (v === i ? [] : [at]));
          const [ys, xs] = [other.map((at) => Math.floor(at / 5)), other.map((at) => at % 5)];
          if (other.length > 0)
            expect(other.length).toBe(
              (Math.max(...ys) - Math.min(...ys) + 1) * (Math.max(...xs) - Math.min(...xs) + 1),
            );
        }
      }
    }
  });

  it("says what is missing", async () => {
    const run = (op: (batch: never, context: never) => unknown) => images.map(op as never, { seed: 1 }).at(0);
    await expect(run(mixup({ images: "x", labels: "y" }))).rejects.toThrow(/option classes: it is missing/);
    await expect(run(mixup({ images: "x", labels: "y", classes: 3 }))).rejects.toThrow(
      /field "y": 3 is no class from 0 to 2|4 is no|5 is no/,
    );
    await expect(run(mixup({ images: "z", labels: "y", classes: n }))).rejects.toThrow(
      /field "z": expected the images of a batch, got undefined/,
    );
    expect(() => mixup({ images: "x", labels: "y", alpha: 0 })).toThrow(/option alpha: expected a number above 0/);
    const bytes = dataset({ x: [new Uint8Array(4)], y: [0] }).batch(1);
    await expect(bytes.map(mixup({ images: "x", labels: "y", classes: 1 }), { seed: 1 }).at(0)).rejects.toThrow(
      /a mean of u8 would round/,
    );
  });
});
