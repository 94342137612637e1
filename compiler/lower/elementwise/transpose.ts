/** Maps that only move elements and turn matrices on the way: by the kernel that does so in registers. */

import { type Dim, dimAdd, dimFloorDiv, dimMax, dimMul, dimSubstitute } from "../../../ir/dim.js";
import { elemBytes } from "../../../ir/loop.js";
import { mostFew, type TransposeSpec, transpose } from "../../kernels/transpose.js";
import { type LowerContext, offsetView } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import { addMicroKernel, viewArg } from "../core/micro-kernel.js";
import { sizeOf } from "../core/place.js";
import { coefficient, grain, isLoopSymbol, type Loop } from "./loops.js";
import type { Store } from "./point-emit.js";

/** Loops around a matrix that the kernel takes. */
const mostOuter = 4;

/** Elements of a unit of work, at least. */
const least = 4096;
/** Columns of a band are a multiple of it, so that lines of the cache are read whole. */
const lineElements = 64;

interface Walk {
  readonly loop: Loop;
  readonly x: Dim;
  readonly y: Dim;
}

/** Adds the kernel that makes the store over the (collapsed) loops; false where it is no such map. */
export function emitTransposition(
  ctx: LowerContext,
  loops: readonly Loop[],
  { to, at, point }: Store,
  substitute: (d: Dim) => Dim,
  loc: string | undefined,
): boolean {
  if (point.kind !== "load" || elemOf[point.view.buffer.dtype] !== elemOf[to.buffer.dtype]) return false;
  const [from, target] = [substitute(point.at), substitute(at)];
  const walks: Walk[] = [];
  for (const loop of loops) {
    const [x, y] = [coefficient(from, loop.symbol), coefficient(target, loop.symbol)];
    if (x === undefined || y === undefined) return false;
    walks.push({ loop, x, y });
  }
  const rows = walks.find((w) => w.y === 1);
  const columns = walks.find((w) => w.x === 1);
  if (rows === undefined || columns === undefined || rows === columns) return false;
  const outer = walks.filter((w) => w !== rows && w !== columns);
  if (outer.length > mostOuter) return false;
  const elem = elemOf[to.buffer.dtype];
  const spec: TransposeSpec = { elem, outer: outer.length, ...fewOf(elem, rows, columns) };
  const [m, n] = [rows.loop.size, columns.loop.size];
  const [across, along] = spec.few?.axis === "columns" ? [n, m] : [m, n];
  const lines = dimFloorDiv(dimAdd(dimFloorDiv(least, dimMax(across, 1)), lineElements - 1), lineElements);
  const band = dimMul(dimMax(lines, 1), lineElements);
  const bands = dimMax(dimFloorDiv(along, band), 1);
  const units = dimMul(sizeOf(outer.map((w) => w.loop.size)), bands);
  const perChunk = dimMax(dimFloorDiv(grain, dimMax(dimMul(band, across), 1)), 1);
  const origin = (d: Dim) => dimSubstitute(d, (s) => (isLoopSymbol(s.name) ? 0 : undefined));
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("transpose", transpose, spec),
    chunks: dimFloorDiv(dimAdd(units, dimAdd(perChunk, -1)), perChunk),
    args: {
      x: viewArg(offsetView(point.view, origin(from)), "read"),
      y: viewArg(offsetView(to, origin(target)), "write"),
      rows: m,
      columns: n,
      xRow: rows.x,
      yRow: columns.y,
      band,
      bands,
      units,
      perChunk,
      ...Object.fromEntries(
        outer.flatMap((w, k) => [
          [`size${k}`, w.loop.size] as const,
          [`xStep${k}`, w.x] as const,
          [`yStep${k}`, w.y] as const,
        ]),
      ),
    },
    loc,
  });
  return true;
}

/** Columns or rows that are few and without gaps. */
function fewOf(elem: TransposeSpec["elem"], rows: Walk, columns: Walk): Pick<TransposeSpec, "few"> {
  const most = mostFew[elemBytes[elem]]!;
  const isFew = (count: Dim, pitch: Dim): count is number =>
    typeof count === "number" && count >= 2 && count <= most && pitch === count;
  if (isFew(columns.loop.size, rows.x)) return { few: { axis: "columns", count: columns.loop.size } };
  if (isFew(rows.loop.size, columns.y)) return { few: { axis: "rows", count: rows.loop.size } };
  return {};
}
