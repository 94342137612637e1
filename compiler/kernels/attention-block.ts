/**
 * What attention does with a block of queries between its products. Queries are lanes: their weights lie as [keys][32], so that the softmax goes
 * down columns and needs no sums across lanes.
 */

import type { Expr, LoopFunction } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { int, ints } from "./tile.js";

/** Queries of a block: lanes of a row of weights. */
export const attentionBlock = 32;
const bytes = 4;
/** Bytes of a row of weights. */
export const rowBytes = attentionBlock * bytes;

const by = { name: "by", type: "f32" } as const;
export const pointers = <const N extends string>(...names: readonly N[]) => names.map((n) => B.pointer(n, "f32"));

/** to[column][row] = by · x[row][column], for up to a block of rows; zeros where there are fewer. */
export const transposeRows: LoopFunction = buildFunction(
  "f32_attention_transpose",
  [...pointers("x", "to"), ...ints("rows", "columns"), by],
  undefined,
  (f, [x, to, rows, columns, factor]) => {
    f.if(B.ltS(rows!, attentionBlock), () => {
      f.push(B.fill(to!, 0, B.mul(columns!, rowBytes)));
    });
    const row = f.mut("row", x!);
    f.for("r", 0, rows!, 1, (r) => {
      const at = f.mut("at", B.add(to!, B.mul(r, bytes)));
      f.for("c", 0, columns!, 1, (c) => {
        f.store("f32", at, 0, B.mul(B.load("f32", "f32", row, c), factor!));
        f.assign(at, B.add(at, rowBytes));
      });
      f.assign(row, B.add(row, B.mul(columns!, bytes)));
    });
  },
);

/** Two vectors of lanes at a time, of each row: `body` gets a pointer to the first row's. */
function laneGroups(f: Block, body: (group: Expr) => void): void {
  f.for("group", 0, attentionBlock, 8, body);
}

const halves = [0, 4] as const;

export interface SoftmaxSpec {
  /** Lane i sees the keys up to `diagonal` + i only. */
  readonly causal: boolean;
  /** Leave the weights undivided: what to multiply by goes to `inverses`[32]. A result of few columns is scaled in less time than many keys. */
  readonly undivided: boolean;
}

/** Softmax down the columns of p[keys][32]. */
export function softmaxColumns({ causal, undivided }: SoftmaxSpec): LoopFunction {
  const params = [...pointers("p"), ...ints("keys", "diagonal"), ...(undivided ? pointers("inverses") : [])];
  const name = `f32_attention_softmax${causal ? "_causal" : ""}${undivided ? "_undivided" : ""}`;
  return buildFunction(name, params, undefined, (f, [p, keys, diagonal, inverses]) => {
    const end = f.let("end", B.mul(keys!, attentionBlock));
    laneGroups(f, (group) => {
      const at = f.let("at", B.add(p!, B.mul(group, bytes)));
      const read = (row: Expr, h: number) => B.load("f32x4", "f32", at, row, h);
      const top = halves.map(() => f.mut("top", B.constant("f32x4", -Infinity)));
      const open = causal ? f.let("open", B.minS(end, B.mul(diagonal!, attentionBlock))) : end;
      f.for("row", 0, open, attentionBlock, (row) => {
        for (const [i, h] of halves.entries()) f.assign(top[i]!, B.pmax(top[i]!, read(row, h)));
      });
      if (causal) {
        // The last key that each lane sees, counted in rows' elements.
        const last = halves.map((h) => {
          const lanes = { kind: "constVector", type: "i32x4", values: [h, h + 1, h + 2, h + 3] } as const;
          return f.let("last", B.add(B.add(lanes, B.splat("i32x4", group)), B.splat("i32x4", diagonal!)));
        });
        f.for("row", open, end, attentionBlock, (row) => {
          const key = f.let("key", B.splat("i32x4", B.shrU(row, Math.log2(attentionBlock))));
          for (const [i, h] of halves.entries()) {
            const unseen = B.gtS(key, last[i]!);
            const x = f.let("x", B.select(unseen, B.constant("f32x4", -Infinity), read(row, h)));
            f.store("f32", at, row, x, h);
            f.assign(top[i]!, B.pmax(top[i]!, x));
          }
        });
      }
      const total = halves.map(() => f.mut("total", B.constant("f32x4", 0)));
      f.for("row", 0, end, attentionBlock, (row) => {
        for (const [i, h] of halves.entries()) {
          const e = f.let("e", B.math("exp", B.sub(read(row, h), top[i]!)));
          f.store("f32", at, row, e, h);
          f.assign(total[i]!, B.add(total[i]!, e));
        }
      });
      // Sums are 1 or more, but for no keys.
      const inverse = total.map((t) =>
        f.let("inverse", B.div(B.constant("f32x4", 1), B.pmax(t, B.constant("f32x4", 1)))),
      );
      if (undivided) {
        for (const [i, h] of halves.entries()) f.store("f32", inverses!, group, inverse[i]!, h);
        return;
      }
      f.for("row", 0, end, attentionBlock, (row) => {
        for (const [i, h] of halves.entries()) f.store("f32", at, row, B.mul(read(row, h), inverse[i]!), h);
      });
    });
  });
}

/** y[count][columns] = y · inverses, row by row. */
export const scaleRows: LoopFunction = buildFunction(
  "f32_attention_scale",
  [...pointers("y", "inverses"), ...ints("count", "columns")],
  undefined,
  (f, [y, inverses, count, columns]) => {
    const row = f.mut("row", y!);
    f.for("r", 0, count!, 1, (r) => {
      const factor = f.let("factor", B.load("f32", "f32", inverses!, r));
      f.for("c", 0, columns!, 1, (c) => f.store("f32", row, c, B.mul(B.load("f32", "f32", row, c), factor)), {
        vectorize: true,
      });
      f.assign(row, B.add(row, B.mul(columns!, bytes)));
    });
  },
);

/** g = by · p ∘ (g − Σ p ∘ g down the columns). */
export const softmaxGradColumns: LoopFunction = buildFunction(
  "f32_attention_softmax_grad",
  [...pointers("p", "g"), int("keys"), by],
  undefined,
  (f, [p, g, keys, factor]) => {
    const end = f.let("end", B.mul(keys!, attentionBlock));
    laneGroups(f, (group) => {
      const at = f.let("at", B.add(p!, B.mul(group, bytes)));
      const to = f.let("to", B.add(g!, B.mul(group, bytes)));
      const weight = (row: Expr, h: number) => B.load("f32x4", "f32", at, row, h);
      const cotangent = (row: Expr, h: number) => B.load("f32x4", "f32", to, row, h);
      const mean = halves.map(() => f.mut("mean", B.constant("f32x4", 0)));
      f.for("row", 0, end, attentionBlock, (row) => {
        for (const [i, h] of halves.entries()) f.assign(mean[i]!, B.fma(weight(row, h), cotangent(row, h), mean[i]!));
      });
      const scale = f.let("scale", B.splat("f32x4", factor!));
      f.for("row", 0, end, attentionBlock, (row) => {
        for (const [i, h] of halves.entries()) {
          const centred = B.sub(cotangent(row, h), mean[i]!);
          f.store("f32", to, row, B.mul(B.mul(weight(row, h), centred), scale), h);
        }
      });
    });
  },
);
