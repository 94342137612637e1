/** Where the output pixels of a convolution, and the elements that each sums, lie in its padded input. */

import type { Expr, LoopParam } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import { add, divS, eq, i32, mul, type Named, remS, sub } from "../../ir/loop-build.js";
import { int } from "./tile.js";

/** Where the segments of a convolution lie; counts and steps (in elements of x), innermost first. */
export interface Segments {
  readonly run: number;
  readonly counts: readonly number[];
  readonly steps: readonly number[];
}

/** Sizes of a channels-last convolution; `input` and `kernel` from depth to width, `input` after padding. */
export interface ConvGeometry {
  readonly input: readonly number[];
  readonly channels: number;
  readonly groups: number;
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
}

/**
 * The segments for constant sizes, which says in numbers what a lowering with symbolic sizes builds as expressions. Loops of
 * one round are left out.
 */
export function segments(g: ConvGeometry): Segments {
  const rank = g.kernel.length;
  const merged = g.groups === 1 && g.dilation[rank - 1] === 1;
  const run = merged ? g.kernel[rank - 1]! * g.channels : g.channels / g.groups;
  const counts: number[] = [];
  const steps: number[] = [];
  let pitch = g.channels;
  for (let axis = rank - 1; axis >= 0; axis--) {
    if (!(merged && axis === rank - 1) && g.kernel[axis] !== 1) {
      counts.push(g.kernel[axis]!);
      steps.push(g.dilation[axis]! * pitch);
    }
    pitch *= g.input[axis]!;
  }
  if (counts.length === 0) {
    counts.push(1);
    steps.push(0);
  }
  return { run, counts, steps };
}

/** How the first elements of neighbouring output pixels lie in x. */
export const walkParams = [
  int("outW"),
  int("outH"),
  int("outD"),
  int("stepW"), // stride · input pixel pitch
  int("stepH"),
  int("stepD"),
  int("stepImage"),
];

export const segmentParams = (loops: number): readonly LoopParam[] =>
  Array.from({ length: loops }, (_, i) => [int(`count${i}`), int(`segment${i}`)]).flat();

/** The most pixels and output channels of a chunk. */
/** A pointer that walks over output pixels in order, through rows, planes and images. */
export interface PixelWalk {
  /** Address of the current pixel's first element of x. */
  readonly at: Expr;
  /** Moves to the next pixel. */
  readonly next: () => void;
}

/** Starts a walk at pixel number `first`; `bytes` is the size of an element. */
export function pixelWalk(
  f: Block,
  x: Expr,
  first: Expr,
  { outW, outH, outD, stepW, stepH, stepD, stepImage }: Named<typeof walkParams>,
  bytes: number,
): PixelWalk {
  const px = f.mut("px", remS(first, outW));
  const rows = f.let("rows", divS(first, outW));
  const py = f.mut("py", remS(rows, outH));
  const planes = f.let("planes", divS(rows, outH));
  const pz = f.mut("pz", remS(planes, outD));
  const image = divS(planes, outD);
  const at = f.mut(
    "at",
    add(x, mul(add(add(mul(image, stepImage), mul(pz, stepD)), add(mul(py, stepH), mul(px, stepW))), bytes)),
  );
  const next = f.let("nextPixel", mul(stepW, bytes));
  const nextRow = f.let("nextRow", mul(sub(stepH, mul(outW, stepW)), bytes));
  const nextPlane = f.let("nextPlane", mul(sub(stepD, mul(outH, stepH)), bytes));
  const nextImage = f.let("nextImage", mul(sub(stepImage, mul(outD, stepD)), bytes));
  return {
    at,
    next: () => {
      f.assign(at, add(at, next));
      f.assign(px, add(px, 1));
      f.if(eq(px, outW), () => {
        f.assign(px, 0);
        f.assign(at, add(at, nextRow));
        f.assign(py, add(py, 1));
        f.if(eq(py, outH), () => {
          f.assign(py, 0);
          f.assign(at, add(at, nextPlane));
          f.assign(pz, add(pz, 1));
          f.if(eq(pz, outD), () => {
            f.assign(pz, 0);
            f.assign(at, add(at, nextImage));
          });
        });
      });
    },
  };
}

/** Nested loops over the segments; the body gets the segment's offset in bytes. `args`: count0, segment0, count1 … */
export function segmentLoops(f: Block, args: readonly Expr[], bytes: number, body: (offset: Expr) => void): void {
  const level = (i: number, outer: Expr): void => {
    if (i < 0) {
      body(outer);
      return;
    }
    f.for(`s${i}`, 0, args[2 * i]!, 1, (s) =>
      level(i - 1, f.let(`segmentAt${i}`, add(outer, mul(mul(s, args[2 * i + 1]!), bytes)))),
    );
  };
  level(args.length / 2 - 1, i32(0));
}
