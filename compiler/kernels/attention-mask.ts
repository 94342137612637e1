/** Masks of attention: how a score is masked, and which keys they leave to be looked at. */

import type { Expr, LoopFunction } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { pointers, rowBytes } from "./attention-block.js";
import { int, ints } from "./tile.js";

/** What a mask holds: floats that are added to the scores, or whether a key is seen. */
export type AttentionMask = "f32" | "bool";
export const maskElem = { f32: "f32", bool: "u8" } as const;
export const maskSuffix = (mask: AttentionMask | undefined): string =>
  mask === undefined ? "" : mask === "f32" ? "_masked" : "_seen";
export const maskBytes = (kind: AttentionMask): number => (kind === "bool" ? 1 : 4);

/** A score under the mask's element at a place. */
export function maskedScore(score: Expr, mask: Expr, kind: AttentionMask | undefined, at: Expr | number): Expr {
  switch (kind) {
    case undefined:
      return score;
    case "f32":
      return B.add(score, B.load("f32", "f32", mask, at));
    case "bool":
      return B.select(B.eq(B.load("i32", "u8", mask, at), 0), B.f32(-Infinity), score);
  }
}

/** p[keys][32] under mask[count][keys], whose rows are `step` elements apart. */
export const addMask = (kind: AttentionMask): LoopFunction =>
  buildFunction(
    `f32_attention_mask${kind === "f32" ? "" : "_bool"}`,
    [...pointers("p"), B.pointer("mask", maskElem[kind]), ...ints("count", "keys", "step")],
    undefined,
    (f, [p, mask, count, keys, step]) => {
      const row = f.mut("row", mask!);
      f.for("r", 0, count!, 1, (r) => {
        const at = f.mut("at", B.add(p!, B.mul(r, maskBytes("f32"))));
        f.for("key", 0, keys!, 1, (key) => {
          f.store("f32", at, 0, maskedScore(B.load("f32", "f32", at, 0), row, kind, key));
          f.assign(at, B.add(at, rowBytes));
        });
        f.assign(row, B.add(row, B.mul(step!, maskBytes(kind))));
      });
    },
  );

/**
 * What is added to the score of a key that is not seen, or less: exporters write −∞ or the least float. Its weight is 0 beside that of a key that
 * is seen, unless scores are as large themselves.
 */
const hiding = -1e30;

/** Whether some of `count` neighbouring keys from a place on, 4 or 1, are seen. A NaN is seen. */
function isSeen(kind: AttentionMask, mask: Expr, key: Expr, count: 4 | 1): Expr {
  const address = B.add(mask, B.mul(key, maskBytes(kind)));
  if (kind === "bool") return B.ne(B.load("i32", count === 4 ? "i32" : "u8", address, 0), 0);
  const greatest =
    count === 4 ? B.reduceLanes("max", B.load("f32x4", "f32", address, 0)) : B.load("f32", "f32", address, 0);
  return B.unary("not", B.le(greatest, hiding));
}

/** Moves `key`, by four and then by one, over keys that are not seen; `step` is 1 as far as `end`, or −1 down to it. */
function overHidden(f: Block, kind: AttentionMask, mask: Expr, key: Expr, end: Expr, step: 1 | -1): void {
  for (const count of [4, 1] as const) {
    const isSearching = f.mut("isSearching", B.i32(1));
    const next = B.add(key, step * count);
    const isWithin = step === 1 ? B.leS(next, end) : B.geS(next, end);
    f.while(B.and(B.ne(isSearching, 0), isWithin), () => {
      const seen = isSeen(kind, mask, step === 1 ? key : next, count);
      f.if(
        seen,
        () => f.assign(isSearching, B.i32(0)),
        () => f.assign(key, next),
      );
    });
  }
}

const rangeParams = (kind: AttentionMask) => [
  B.pointer("mask", maskElem[kind]),
  ...ints("count", "keys", "step"),
  int("open"),
];

/**
 * The first key that one of the rows of mask[count][keys] sees, whose rows are `step` elements apart; −1 if a row sees none. Row r
 * has the keys below `open` + r only.
 */
export const firstSeen = (kind: AttentionMask): LoopFunction =>
  buildFunction(
    `f32_attention_first${maskSuffix(kind)}`,
    rangeParams(kind),
    "i32",
    (f, [mask, count, keys, step, open]) => {
      const row = f.mut("row", mask!);
      const first = f.mut("first", keys!);
      f.for("r", 0, count!, 1, (r) => {
        const end = f.let("end", B.minS(keys!, B.add(open!, r)));
        const key = f.mut("key", B.i32(0));
        overHidden(f, kind, row, key, end, 1);
        f.if(B.geS(key, end), () => f.return(B.i32(-1)));
        f.assign(first, B.minS(first, key));
        f.assign(row, B.add(row, B.mul(step!, maskBytes(kind))));
      });
      f.return(first);
    },
  );

/** One more than the last key that one of the rows sees; the parameters are those of `firstSeen`. */
export const lastSeen = (kind: AttentionMask): LoopFunction =>
  buildFunction(
    `f32_attention_last${maskSuffix(kind)}`,
    rangeParams(kind),
    "i32",
    (f, [mask, count, keys, step, open]) => {
      const row = f.mut("row", mask!);
      const last = f.mut("last", B.i32(0));
      f.for("r", 0, count!, 1, (r) => {
        const key = f.mut("key", B.maxS(last, B.minS(keys!, B.add(open!, r))));
        overHidden(f, kind, row, key, last, -1);
        f.assign(last, key);
        f.assign(row, B.add(row, B.mul(step!, maskBytes(kind))));
      });
      f.return(last);
    },
  );

/** Keys from `from` to `to`. */
export interface KeyRange {
  readonly from: Expr;
  readonly to: Expr;
}

/**
 * The keys that rows of a mask see, from the first to the last: all others have no weight. All `keys` where a row sees none: its weights are
 * then equal, or NaN. `use` gives the functions to the kernel.
 */
export function seenKeys(
  f: Block,
  kind: AttentionMask,
  use: (fn: LoopFunction) => LoopFunction,
  rows: { readonly mask: Expr; readonly count: Expr; readonly keys: Expr; readonly step: Expr; readonly open: Expr },
): KeyRange {
  const args = [rows.mask, rows.count, rows.keys, rows.step, rows.open];
  const from = f.mut("from", B.call("i32", use(firstSeen(kind)).name, args));
  const to = f.mut("to", rows.keys);
  f.if(
    B.ltS(from, 0),
    () => f.assign(from, B.i32(0)),
    () => f.assign(to, B.call("i32", use(lastSeen(kind)).name, args)),
  );
  return { from, to };
}
