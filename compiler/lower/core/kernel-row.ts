/**
 * What a kernel, or a family of them, says of itself: a row of compiler/lower/table.ts. Passes and lowering ask the rows, so a kernel
 * is its generator and its row.
 */

import type { Dim } from "../../../ir/dim.js";
import type { DType } from "../../../ir/dtype.js";
import type { NodeOf, Value } from "../../../ir/graph.js";
import type { AttrsOf, OpName } from "../../../ir/ops/index.js";
import type { Tile } from "../../kernels/choose-tile.js";
import { type Epilogue, identity } from "../../kernels/epilogue.js";
import type { Arg, View } from "../../schedule.js";
import type { LowerContext } from "./context.js";

/** The result of a kernel that sums as a matrix per batch: where element (batch, row, column) lies is row-major. */
export interface ResultMatrix {
  readonly batch: Dim;
  readonly rows: Dim;
  readonly columns: Dim;
}

/** An epilogue together with what a step passes to it. */
export interface Finish {
  readonly epilogue: Epilogue;
  readonly args: readonly Arg[];
  /** Which of `args` are read at the element being stored only, and of its size: a kernel that stores each once may store over them. */
  readonly over: readonly number[];
  /** dtype of what is stored. */
  readonly dtype: DType;
}

/** The kernel's own result, stored as its dtype: the kernel's store narrows and rounds. */
export const plainFinish = (dtype: DType): Finish => ({ epilogue: identity, args: [], over: [], dtype });

interface Row<N extends OpName> {
  /** Which of the op's kernels it is, in the field's words: "winograd". Unique among the rows of an op. */
  readonly name: string;
  /** Whether it computes the node; default: any. Passes ask too, so the node alone decides. */
  readonly serves?: (node: RowNode<N>) => boolean;
  /**
   * Estimated cycles of one thread, asked where several rows serve a node: the least is taken, of equals the first. Default 0: taken
   * wherever it serves.
   */
  readonly cost?: (node: RowNode<N>, ctx: LowerContext) => number;
}

export type RowNode<N extends OpName> = NodeOf<N, AttrsOf<N>>;

/** What a row is told besides the node: one of its tiles, if it has any. */
type NoTile = readonly [];
type OneTile = readonly [tile: Tile];

/** A kernel that takes no epilogue: it gives its results places itself. */
export interface PlainRow<N extends OpName, T extends NoTile | OneTile = NoTile> extends Row<N> {
  readonly lower: (ctx: LowerContext, node: RowNode<N>, ...tile: T) => void;
}

/** A kernel of one result whose sums an epilogue may finish before they are stored. */
export interface SumRow<N extends OpName, T extends NoTile | OneTile = NoTile> extends Row<N> {
  /** How its result lies as a matrix; undefined where it can't store `output`, computed from its sums, in their place. */
  readonly matrix: (node: RowNode<N>, output: Value) => ResultMatrix | undefined;
  /** Adds the steps that compute the node, finished, into `to`. */
  readonly store: (ctx: LowerContext, node: RowNode<N>, to: View, finish: Finish, ...tile: T) => void;
}

interface Tiled<N extends OpName> {
  /** Register tiles that the kernel may take for the node, the one estimated fastest first. They decide speed alone: results have the same bits. */
  readonly tiles: (node: RowNode<N>) => readonly Tile[];
}

/** A kernel whose code has a register tile, of which there are several to choose from. */
export type TiledRow<N extends OpName> = Tiled<N> & (PlainRow<N, OneTile> | SumRow<N, OneTile>);

interface Untiled {
  readonly tiles?: undefined;
}

/** A kernel of the op N. Where N is a composite, it is kept whole where a row serves it. */
export type KernelRow<N extends OpName> = (Untiled & (PlainRow<N> | SumRow<N>)) | TiledRow<N>;

/** The row, whose functions TypeScript then knows to get a tile. */
export const tiledRow = <N extends OpName>(row: TiledRow<N>): TiledRow<N> => row;

/** The kernel that serves where no other does: slower than any. */
export const lastResort = (): number => Number.POSITIVE_INFINITY;
