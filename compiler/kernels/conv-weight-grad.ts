/**
 * Weight gradient of the channels-last convolution of conv.ts (names as there): a product with the pixels as reduction.
 *
 *   dw[k, co] = Σ_{image, pixel} x[image, pixel + offset(k)] · dy[image, pixel, co]        k over segments, then the run
 *
 *   for each chunk of K:
 *     for each block of rows of output pixels, small enough for the cache:
 *       for each tile of MR elements of K and NR output channels: dw += …
 *
 * Every element adds up over the pixels in order, whatever the blocks.
 */

import type { Elem, Expr, LoopFunction, LoopParam } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import {
  add,
  divS,
  eq,
  geS,
  i32,
  leS,
  load,
  loadSplat,
  ltS,
  maxS,
  minS,
  mul,
  named,
  ne,
  param,
  pointer,
  remS,
  select,
  sub,
} from "../../ir/loop-build.js";
import { coverColumns, existing, firstColumn, Helpers, panelsOf, type TileWidth, tileName } from "./columns.js";
import type { ConvGradSpec } from "./conv-input-grad.js";
import { segmentParams } from "./conv-walk.js";
import { identity } from "./epilogue.js";
import { rowTiles } from "./gemm-spec.js";
import type { Kernel } from "./kernel.js";
import { int, type Lane, lanes, loadTile, partialVector, reduction, startTile, storeTile, tileStep } from "./tile.js";

export interface WeightGradSpec extends ConvGradSpec {
  /** Pixels that one turn of the inner loop takes, where known to divide a row of output pixels. Default 4, with a rest. */
  readonly turn?: number;
}

/** Parameters of `convWeightGradient`; strides in elements. */
export const weightGradientParams = (elem: Elem, loops: number): readonly LoopParam[] => [
  ...ownParams(elem),
  ...segmentParams(loops),
];

const ownParams = (elem: Elem) => [
  int("begin"),
  int("end"),
  pointer("x", elem), // padded
  pointer("dy", elem),
  pointer("dw", elem), // [group][K][n]
  int("rows"), // images · outD · outH
  int("n"), // output channels of a group
  int("xGroup"),
  int("dyPixel"),
  int("outW"),
  int("outH"),
  int("outD"),
  int("stepW"), // as in conv.ts
  int("stepH"),
  int("stepD"),
  int("stepImage"),
  int("run"),
];

/** Elements of x and dy that a block of output rows may touch, so that they stay in the cache while all tiles read them. */
const blockElements = 16384;

const turnName = (turn: number | undefined): string => (turn === undefined ? "" : `_turn${turn}`);

/** Rows of dw (elements of K) in a chunk. */
const chunkK = 32;

/**
 * MR rows of dw, starting at different elements of x, against columns of dy, over `count` rows of output pixels from `first`:
 *
 *   dw[r, :] = (first = 0 ? 0 : dw[r, :]) + Σ x[pixel + offset(r)] · dy[pixel, :]
 */
function weightGradientTile(
  lane: Lane,
  mr: number,
  nr: number,
  width: TileWidth,
  turn: number | undefined,
): LoopFunction {
  const { elem } = lane;
  const { vectors: nv } = width;
  const bytes = elemBytes[elem];
  const L = lane.count;
  const starts = Array.from({ length: mr }, (_, r) => pointer(`x${r}`, elem));
  const own = [
    pointer("dy", elem),
    pointer("dw", elem),
    int("first"),
    int("count"),
    int("rows"),
    int("n"),
    int("dyPixel"),
    int("outW"),
    int("outH"),
    int("outD"),
    int("stepW"),
    int("stepH"),
    int("stepD"),
    int("stepImage"),
    int("columns"),
  ];
  const name = `${lane.name}_convweightgradtile_${tileName(lane, mr, nr, width)}${turnName(turn)}`;
  return buildFunction(name, [...starts, ...own], undefined, (f) => {
    const xs = starts.map(param);
    const p = named(own);
    const { dy, dw, first, count, rows, n, dyPixel, columns } = p;
    const { outW, outH, outD, stepW, stepH, stepD, stepImage } = p;
    const exist = existing(lane, width, columns);
    const acc = startTile(f, lane, mr, nv);
    const dwRows: Expr[] = [dw];
    for (let r = 1; r < mr; r++) dwRows.push(f.let(`dw${r}`, add(dwRows[r - 1]!, mul(n, bytes))));
    const columnOf = (v: number) => firstColumn(lane, width, v);
    const out = { elem, rowPointer: (r: number) => dwRows[r]!, columns: exist, firstColumn: columnOf };
    f.if(ne(first, 0), () => loadTile(f, lane, acc, out));
    const xStep = f.let("xStep", mul(stepW, bytes));
    const dyStep = f.let("dyStep", mul(dyPixel, bytes));
    const oy = f.mut("oy", remS(first, outH));
    const planes = f.let("planes", divS(first, outH));
    const oz = f.mut("oz", remS(planes, outD));
    const image = f.let("image", divS(planes, outD));
    const start = add(add(mul(image, stepImage), mul(oz, stepD)), mul(oy, stepH));
    const offset = f.mut("offset", mul(start, bytes));
    const nextRow = f.let("nextRow", mul(stepH, bytes));
    const nextPlane = f.let("nextPlane", mul(sub(stepD, mul(outH, stepH)), bytes));
    const nextImage = f.let("nextImage", mul(sub(stepImage, mul(outD, stepD)), bytes));
    const dyRow = f.mut("dyRow", add(dy, mul(mul(first, outW), dyStep)));
    f.for("row", first, add(first, count), 1, (row) => {
      const a = xs.map((x, r) => f.mut(`a_${r}`, add(x, offset)));
      const bAt = f.mut("b_", dyRow);
      const vector = (v: number) => load(lane.vector, elem, bAt, 0, columnOf(v));
      const step = (loadB: (v: number) => Expr) => {
        tileStep(f, lane, acc, (r) => loadSplat(lane.vector, elem, a[r]!, 0), loadB);
        for (const p of a) f.assign(p, add(p, xStep));
        f.assign(bAt, add(bAt, dyStep));
      };
      // Pointers move in each step: their distances are known in the run only.
      const pixels = (count: Expr, divisor: number | undefined) =>
        reduction(
          f,
          count,
          divisor ?? 4,
          () => step(vector),
          () => {},
          divisor !== undefined,
        );
      if (exist === undefined) pixels(outW, turn);
      else {
        // The last vector reads beyond its pixel: not at the very end of dy, and never where pixels are narrower than it.
        const last = select(eq(row, sub(rows, 1)), sub(outW, 1), outW);
        const safe = f.let("safe", select(geS(dyPixel, L), last, 0));
        pixels(safe, undefined);
        f.for("ox", safe, outW, 1, () =>
          step((v) => (v < nv - 1 ? vector(v) : partialVector(f, lane, elem, bAt, v * L, exist))),
        );
      }
      f.assign(dyRow, add(dyRow, mul(outW, dyStep)));
      f.assign(offset, add(offset, nextRow));
      f.assign(oy, add(oy, 1));
      f.if(eq(oy, outH), () => {
        f.assign(oy, 0);
        f.assign(offset, add(offset, nextPlane));
        f.assign(oz, add(oz, 1));
        f.if(eq(oz, outD), () => {
          f.assign(oz, 0);
          f.assign(offset, add(offset, nextImage));
        });
      });
    });
    storeTile(f, lane, acc, {
      ...out,
      epilogue: identity,
      params: [],
      at: () => ({ batch: i32(0), row: i32(0), column: i32(0) }),
    });
  });
}

export interface WeightGradientKernel extends Kernel {
  /** The chunk axis has groups · ceil(K / chunkK) values, K = run · product of the segment counts. */
  readonly chunkK: number;
}

/** Weight gradient over chunks of K; entry parameters: `weightGradientParams`. */
export function convWeightGradient(spec: WeightGradSpec): WeightGradientKernel {
  const lane = lanes[spec.lane];
  const { elem } = lane;
  const mr = spec.mr ?? 4;
  const nr = spec.nr ?? 2 * lane.count;
  const loops = spec.loops ?? 2;
  const bytes = elemBytes[elem];
  const panels = panelsOf(lane, nr, spec.n);
  const helpers = new Helpers();
  const name = `${lane.name}_convweightgrad_${loops}_${mr}x${nr}${panels.suffix}${turnName(spec.turn)}`;
  const fn = buildFunction(name, weightGradientParams(elem, loops), undefined, (f) => {
    const p = named(ownParams(elem));
    const { begin, end, x, dy, dw, rows, n, xGroup, dyPixel, outW, stepH, run } = p;
    const segmentArgs = segmentParams(loops).map(param);
    const k = f.mut("k", run);
    for (let i = 0; i < loops; i++) f.assign(k, mul(k, segmentArgs[2 * i]!));
    const blocks = f.let("blocks", divS(add(k, chunkK - 1), chunkK));
    const perRow = f.let("perRow", add(mul(outW, dyPixel), maxS(stepH, 1)));
    const blockRows = f.let("blockRows", maxS(divS(i32(blockElements), perRow), 1));
    f.for("chunk", begin, end, 1, (chunk) => {
      const group = f.let("group", divS(chunk, blocks));
      const k0 = f.let("k0", mul(remS(chunk, blocks), chunkK));
      const k1 = f.let("k1", minS(add(k0, chunkK), k));
      const xAt = f.let("xAt", add(x, mul(mul(group, xGroup), bytes)));
      const dyAt = f.let("dyAt", add(dy, mul(mul(group, n), bytes)));
      const dwAt = f.let("dwAt", add(dw, mul(mul(mul(group, k), n), bytes)));
      const from = f.mut("from", i32(0));
      // At least one round, so that dw is written even without pixels.
      f.while(ltS(from, maxS(rows, 1)), () => {
        const count = f.let("count", minS(sub(rows, from), blockRows));
        // Walks over the elements of K: their offsets within x.
        const i = f.mut("i", remS(k0, run));
        const segment = f.let("segment", divS(k0, run));
        const indices: Expr[] = [];
        let rest: Expr = segment;
        let offset: Expr = mul(i, bytes);
        for (let l = 0; l < loops; l++) {
          const index = l === loops - 1 ? rest : remS(rest, segmentArgs[2 * l]!);
          indices.push(f.mut(`s${l}`, index));
          offset = add(offset, mul(mul(indices[l]!, segmentArgs[2 * l + 1]!), bytes));
          if (l < loops - 1) rest = f.let("outerSegments", divS(rest, segmentArgs[2 * l]!));
        }
        const at = f.mut("at", add(xAt, offset));
        const next = () => {
          f.assign(at, add(at, bytes));
          f.assign(i, add(i, 1));
          f.if(eq(i, run), () => {
            f.assign(i, 0);
            f.assign(at, add(at, mul(sub(segmentArgs[1]!, run), bytes)));
            f.assign(indices[0]!, add(indices[0]!, 1));
            const carry = (l: number): void => {
              if (l + 1 >= loops) return;
              f.if(eq(indices[l]!, segmentArgs[2 * l]!), () => {
                f.assign(indices[l]!, 0);
                const back = mul(segmentArgs[2 * l]!, segmentArgs[2 * l + 1]!);
                f.assign(at, add(at, mul(sub(segmentArgs[2 * l + 3]!, back), bytes)));
                f.assign(indices[l + 1]!, add(indices[l + 1]!, 1));
                carry(l + 1);
              });
            };
            carry(0);
          });
        };
        const row = f.mut("row", k0);
        for (const size of rowTiles(mr))
          f.while(leS(add(row, size), k1), () => {
            const pointers: Expr[] = [];
            for (let r = 0; r < size; r++) {
              pointers.push(f.let(`x${r}`, at));
              next();
            }
            coverColumns(f, lane, panels, i32(0), n, (width, column, columns) =>
              f.callNamed(helpers.use(weightGradientTile(lane, size, nr, width, spec.turn)), {
                ...p,
                ...Object.fromEntries(pointers.map((at, r) => [`x${r}`, at])),
                dy: add(dyAt, mul(column, bytes)),
                dw: add(dwAt, mul(add(mul(row, n), column), bytes)),
                first: from,
                count,
                columns,
              }),
            );
            f.assign(row, add(row, size));
          });
        f.assign(from, add(from, maxS(count, 1)));
      });
    });
  });
  return { fn, helpers: helpers.list(), chunkK };
}
