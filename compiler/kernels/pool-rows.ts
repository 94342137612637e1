/**
 * Largest element of each window of images whose rows lie without gaps, x[image, y, x], as channels-first ones do: vectors go along
 * the row. Window, strides, dilations and padding are part of the kernel.
 *
 *   for each band of output rows of an image (chunk axis):
 *     if it is padded: copy the input rows that it sees, between margins of the lowest value
 *     for each row: for each vector of neighbouring pixels: the largest of its taps, row by row
 *
 * The last vector of a row is moved back so that it ends with it. Neighbouring pixels of stride 2 are every other element of two
 * loads; of larger strides, and in rows shorter than a vector, pixels are taken one by one. Copying looks for NaNs, so that pixels
 * need to only where there are any.
 */

import type { Expr, LoopType } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  broadcast,
  divS,
  eq,
  geS,
  i32,
  load,
  ltS,
  maxS,
  maxU,
  minS,
  mul,
  named,
  ne,
  or,
  pmax,
  pointer,
  reduceLanes,
  remS,
  select,
  shuffle,
  sub,
} from "../../ir/loop-build.js";
import { isVector } from "../../ir/loop-types.js";
import type { Kernel } from "./kernel.js";
import { laneOf, lowest, nameOf, type PoolLane, type PoolSpec, passedOn } from "./pool.js";
import { int, ints } from "./tile.js";

/** Taps that are written out. */
const unrolledTaps = 16;

const margins = (s: PoolSpec): readonly number[] => [...s.padLow.slice(1), ...s.padHigh.slice(1)];

/** Whether input rows are copied, with margins around them. */
export const copiesRows = (s: PoolSpec): boolean => margins(s).some((p) => p > 0);

/** Whether the kernel serves the window: in a plane, and not cut at one side but padded at another. */
export const servesRows = (s: PoolSpec): boolean =>
  s.window[0] === 1 && s.padLow[0] === 0 && s.padHigh[0] === 0 && !(copiesRows(s) && margins(s).some((p) => p < 0));

/** The running extremum: ints as such; of floats the largest number so far, and whether there was a NaN. */
class Largest {
  readonly #f: Block;
  readonly #float: boolean;
  readonly #unsigned: boolean;
  readonly #best: Expr;
  readonly #nan: Expr | undefined;

  /** `clean`: no element is a NaN. */
  constructor(f: Block, s: PoolSpec, lane: PoolLane, type: LoopType, clean: boolean) {
    this.#f = f;
    this.#float = lane.scalar === "f32" || lane.scalar === "f64";
    this.#unsigned = s.elem === "u32" || s.elem === "u64";
    this.#best = f.mut("best", lowest(s.elem, type));
    this.#nan = this.#float && !clean ? f.mut("nan", ne(this.#best, this.#best)) : undefined;
  }

  take(v: Expr): void {
    const f = this.#f;
    // The first of equals stays, and a NaN changes nothing here.
    f.assign(this.#best, (this.#float ? pmax : this.#unsigned ? maxU : maxS)(this.#best, v));
    if (this.#nan !== undefined) f.assign(this.#nan, or(this.#nan, ne(v, v)));
  }

  get value(): Expr {
    return this.#nan === undefined ? this.#best : select(this.#nan, broadcast(this.#best.type, Number.NaN), this.#best);
  }
}

const anyOf = (mask: Expr): Expr => (isVector(mask.type) ? reduceLanes("or", mask) : mask);

/** Calls `visit` for each vector of a row, the last one moved back so that it ends with it, or for each element. */
function forRow(f: Block, lane: PoolLane, length: Expr, visit: (type: LoopType, i: Expr) => void): void {
  const { vector, count, scalar } = lane;
  const single = () => f.for("i", 0, length, 1, (i) => visit(scalar, i));
  if (vector === undefined) {
    single();
    return;
  }
  f.if(
    geS(length, count),
    () => {
      const last = f.let("lastVector", sub(length, count));
      f.for("i", 0, length, count, (i) => visit(vector, f.let("at", minS(i, last))));
    },
    single,
  );
}

/**
 * Parameters: begin, end (bands: images · bands), x, y, s (scratch: the input rows of a band, with margins), inH, inW, outH, outW,
 * band (output rows of a band; the last one of an image may have fewer), bands (of an image).
 */
export function maxPoolRows(s: PoolSpec): Kernel {
  const lane = laneOf(s.elem, false);
  const float = lane.scalar === "f32" || lane.scalar === "f64";
  const bytes = elemBytes[s.elem];
  const copied = copiesRows(s);
  const [, kh, kw] = s.window;
  const [, dy, dx] = s.dilations;
  const [, sy, sx] = s.strides;
  const [, top, left] = s.padLow;
  const right = s.padHigh[2];
  const name = nameOf(s, "maxpool_rows");
  const pointers = [pointer("x", s.elem), pointer("y", s.elem), pointer("s", s.elem)];
  const sizes = ints("inH", "inW", "outH", "outW");
  const place = ints("first", "rows");

  /** The elements that neighbouring pixels see at one tap, whose first is `kx` columns after `at`. */
  const tap = (type: LoopType, at: Expr, kx: number): Expr => {
    const first = load(type, s.elem, at, 0, kx * dx);
    if (type === lane.scalar || sx === 1) return first;
    // The second load begins so that it ends with what is needed.
    const { count } = lane;
    const lanes = Array.from({ length: count }, (_, l) => (2 * l < count ? 2 * l : 2 * l + 1));
    return shuffle(first, load(type, s.elem, at, 0, kx * dx + count - 1), lanes);
  };

  /** Copies the input rows that output rows [first, first + rows) see; gives whether there was a NaN. */
  const copyBand = (f: Block, from: Expr, to: Expr, pitch: Expr): Expr => {
    const { inH, inW } = named(sizes);
    const { first, rows } = named(place);
    const low = (type: LoopType) => lowest(s.elem, type);
    const found = f.mut("found", i32(0));
    const count = add(mul(sub(rows, 1), sy), (kh - 1) * dy + 1);
    f.for("r", 0, count, 1, (r) => {
      const row = f.let("row", add(sub(mul(first, sy), top), r));
      const at = f.let("to", add(to, mul(r, pitch)));
      f.if(
        and(geS(row, 0), ltS(row, inH)),
        () => {
          const source = f.let("from", add(from, mul(row, mul(inW, bytes))));
          const inner = f.let("inner", add(at, left * bytes));
          for (let i = 0; i < left; i++) f.store(s.elem, at, 0, low(lane.scalar), i);
          for (let i = 0; i < right; i++) f.store(s.elem, inner, inW, low(lane.scalar), i);
          forRow(f, lane, inW, (type, i) => {
            const v = f.let("v", load(type, s.elem, source, i));
            f.store(s.elem, inner, i, v);
            if (float) f.if(anyOf(ne(v, v)), () => f.assign(found, 1));
          });
        },
        () => forRow(f, lane, f.let("width", add(inW, left + right)), (type, i) => f.store(s.elem, at, i, low(type))),
      );
    });
    return found;
  };

  const band = buildFunction(`${name}_band`, [...pointers, ...place, ...sizes], undefined, (f) => {
    const { x, y, s: scratch } = named(pointers);
    const { first, rows } = named(place);
    const { inW, outW } = named(sizes);
    const pitch = f.let("pitch", mul(copied ? add(inW, left + right) : inW, bytes));
    const tapPitch = f.let("tapPitch", mul(pitch, dy));
    const found = copied ? copyBand(f, x, scratch, pitch) : undefined;
    // Of the first tap of pixel 0 in the first row.
    const origin = copied ? scratch : f.let("origin", add(add(x, mul(sub(mul(first, sy), top), pitch)), -left * bytes));
    const pixels = (clean: boolean) =>
      f.for("r", 0, rows, 1, (r) => {
        const from = f.let("from", add(origin, mul(mul(r, sy), pitch)));
        const out = f.let("out", add(y, mul(mul(add(first, r), outW), bytes)));
        const taps: Expr[] = [from];
        if (kh * kw <= unrolledTaps)
          for (let ky = 1; ky < kh; ky++) taps.push(f.let("taps", add(taps[ky - 1]!, tapPitch)));
        const pixel = (type: LoopType, ox: Expr) => {
          const largest = new Largest(f, s, lane, type, clean);
          const column = f.let("column", mul(ox, sx * bytes));
          const take = (at: Expr, kx: number) => largest.take(f.let("v", tap(type, at, kx)));
          if (kh * kw <= unrolledTaps)
            for (const row of taps) {
              const at = f.let("at", add(row, column));
              for (let kx = 0; kx < kw; kx++) take(at, kx);
            }
          else
            f.for("ky", 0, kh, 1, (ky) => {
              const at = f.let("at", add(add(from, column), mul(ky, tapPitch)));
              f.for("kx", 0, kw, 1, (kx) => take(f.let("tap", add(at, mul(kx, dx * bytes))), 0));
            });
          f.store(s.elem, out, ox, largest.value);
        };
        forRow(f, sx > 2 ? { ...lane, vector: undefined } : lane, outW, pixel);
      });
    if (found === undefined || !float) pixels(!float);
    else
      f.if(
        eq(found, 0),
        () => pixels(true),
        () => pixels(false),
      );
  });

  const cut = ints("band", "bands");
  const range = [int("begin"), int("end")];
  const fn = buildFunction(name, [...range, ...pointers, ...sizes, ...cut], undefined, (f) => {
    const { begin, end } = named(range);
    const { x, y } = named(pointers);
    const { inH, inW, outH, outW } = named(sizes);
    const p = named(cut);
    f.for("b", begin, end, 1, (b) => {
      const image = f.let("image", divS(b, p.bands));
      const first = f.let("first", mul(remS(b, p.bands), p.band));
      f.callNamed(band, {
        ...passedOn(pointers, sizes),
        x: add(x, mul(mul(image, mul(inH, inW)), bytes)),
        y: add(y, mul(mul(image, mul(outH, outW)), bytes)),
        first,
        rows: minS(p.band, sub(outH, first)),
      });
    });
  });
  return { fn, helpers: [band] };
}
