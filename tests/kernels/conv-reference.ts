/** Convolution by its definition, channels-last, in f64; always written as 3-D (leading axes 1 where there are fewer). */

type Triple = readonly [number, number, number];

export interface ConvCase {
  readonly images: number;
  /** Depth, height, width of the input before padding. */
  readonly input: Triple;
  readonly cin: number;
  readonly cout: number;
  readonly kernel: Triple;
  readonly stride: Triple;
  readonly padding: Triple;
  readonly dilation: Triple;
  readonly groups: number;
}

export function convCase(c: Partial<ConvCase> & Pick<ConvCase, "input" | "cin" | "cout" | "kernel">): ConvCase {
  return { images: 1, stride: [1, 1, 1], padding: [0, 0, 0], dilation: [1, 1, 1], groups: 1, ...c };
}

export function outputSize(c: ConvCase): Triple {
  return [0, 1, 2].map(
    (a) => Math.floor((c.input[a]! + 2 * c.padding[a]! - c.dilation[a]! * (c.kernel[a]! - 1) - 1) / c.stride[a]!) + 1,
  ) as unknown as Triple;
}

/** Calls `visit(x index, w index, y index)` for every product of the convolution; w is [cout, cin/groups, kz, ky, kx]. */
export function forEachProduct(c: ConvCase, visit: (x: number, w: number, y: number) => void): void {
  const [od, oh, ow] = outputSize(c);
  const [d, h, w] = c.input;
  const [kd, kh, kw] = c.kernel;
  const cinG = c.cin / c.groups;
  const coutG = c.cout / c.groups;
  for (let n = 0; n < c.images; n++)
    for (let oz = 0; oz < od; oz++)
      for (let oy = 0; oy < oh; oy++)
        for (let ox = 0; ox < ow; ox++)
          for (let kz = 0; kz < kd; kz++)
            for (let ky = 0; ky < kh; ky++)
              for (let kx = 0; kx < kw; kx++) {
                const iz = oz * c.stride[0] + kz * c.dilation[0] - c.padding[0];
                const iy = oy * c.stride[1] + ky * c.dilation[1] - c.padding[1];
                const ix = ox * c.stride[2] + kx * c.dilation[2] - c.padding[2];
                if (iz < 0 || iz >= d || iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
                const pixel = ((n * d + iz) * h + iy) * w + ix;
                const out = ((n * od + oz) * oh + oy) * ow + ox;
                const tap = (kz * kh + ky) * kw + kx;
                for (let co = 0; co < c.cout; co++) {
                  const g = Math.floor(co / coutG);
                  for (let ci = 0; ci < cinG; ci++)
                    visit(pixel * c.cin + g * cinG + ci, (co * cinG + ci) * kd * kh * kw + tap, out * c.cout + co);
                }
              }
}

/** Zero-padded copy of x. */
export function padded(c: ConvCase, x: ArrayLike<number>): Float64Array {
  const [d, h, w] = c.input;
  const [pd, ph, pw] = paddedSize(c);
  const out = new Float64Array(c.images * pd * ph * pw * c.cin);
  for (let n = 0; n < c.images; n++)
    for (let z = 0; z < d; z++)
      for (let y = 0; y < h; y++)
        for (let i = 0; i < w * c.cin; i++)
          out[(((n * pd + z + c.padding[0]) * ph + y + c.padding[1]) * pw + c.padding[2]) * c.cin + i] = x[
            ((n * d + z) * h + y) * w * c.cin + i
          ] as number;
  return out;
}

export const paddedSize = (c: ConvCase): Triple =>
  [0, 1, 2].map((a) => c.input[a]! + 2 * c.padding[a]!) as unknown as Triple;
