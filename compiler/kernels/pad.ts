/** Zero padding of channels-last tensors, so that convolution kernels need no bounds checks, and its inverse. */

import type { Elem } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, and, copy, divS, fill, geS, ltS, mul, named, pointer, remS, sub } from "../../ir/loop-build.js";
import type { Kernel } from "./kernel.js";
import { int, ints } from "./tile.js";

const sizes = ints("d", "h", "row", "padFront", "padTop", "padLeft", "paddedD", "paddedH", "paddedRow");

/**
 * padded[image, z, y, i] = x[image, z − padFront, y − padTop, i − padLeft], or 0 outside. A row is width · channels elements;
 * `row`, `padLeft` and `paddedRow` count elements, too. The chunk axis has images · paddedD · paddedH values (rows of the
 * result). Parameters: begin, end, x, padded, d, h, row, padFront, padTop, padLeft, paddedD, paddedH, paddedRow.
 */
export function padKernel(elem: Elem): Kernel {
  const bytes = elemBytes[elem];
  const params = [int("begin"), int("end"), pointer("x", elem), pointer("padded", elem), ...sizes];
  const fn = buildFunction(`${elem}_pad_image`, params, undefined, (f) => {
    const { begin, end, x, padded, d, h, row, paddedD, paddedH, paddedRow, ...p } = named(params);
    const { padFront: front, padTop: top, padLeft: left } = p;
    const rowBytes = f.let("rowBytes", mul(row, bytes));
    const leftBytes = f.let("leftBytes", mul(left, bytes));
    const pitch = f.let("pitch", mul(paddedRow, bytes));
    f.for("r", begin, end, 1, (r) => {
      const to = f.let("to", add(padded, mul(r, pitch)));
      const y = f.let("y", sub(remS(r, paddedH), top));
      const planes = f.let("planes", divS(r, paddedH));
      const z = f.let("z", sub(remS(planes, paddedD), front));
      const image = f.let("image", divS(planes, paddedD));
      f.if(
        and(and(geS(y, 0), ltS(y, h)), and(geS(z, 0), ltS(z, d))),
        () => {
          f.push(fill(to, 0, leftBytes));
          const from = add(x, mul(add(mul(add(mul(image, d), z), h), y), rowBytes));
          f.push(copy(add(to, leftBytes), from, rowBytes));
          const used = f.let("used", add(leftBytes, rowBytes));
          f.push(fill(add(to, used), 0, sub(pitch, used)));
        },
        () => f.push(fill(to, 0, pitch)),
      );
    });
  });
  return { fn, helpers: [] };
}

/**
 * x[image, z, y, i] = padded[image, z + padFront, y + padTop, i + padLeft]. The chunk axis has images · d · h values (rows of
 * the result). Parameters: begin, end, padded, x, then as `padKernel`.
 */
export function cropKernel(elem: Elem): Kernel {
  const bytes = elemBytes[elem];
  const params = [int("begin"), int("end"), pointer("padded", elem), pointer("x", elem), ...sizes];
  const fn = buildFunction(`${elem}_crop`, params, undefined, (f) => {
    const { begin, end, padded, x, d, h, row, paddedD, paddedH, paddedRow, ...p } = named(params);
    const { padFront: front, padTop: top, padLeft: left } = p;
    const rowBytes = f.let("rowBytes", mul(row, bytes));
    f.for("r", begin, end, 1, (r) => {
      const y = add(remS(r, h), top);
      const planes = f.let("planes", divS(r, h));
      const z = add(remS(planes, d), front);
      const rows = add(mul(add(mul(divS(planes, d), paddedD), z), paddedH), y);
      f.push(copy(add(x, mul(r, rowBytes)), add(padded, mul(add(mul(rows, paddedRow), left), bytes)), rowBytes));
    });
  });
  return { fn, helpers: [] };
}
