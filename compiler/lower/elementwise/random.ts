/** Philox 4×32-10: ir/ops/random.ts has the definition. */

import { dimAdd, dimFloorDiv } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import * as B from "../../../ir/loop-build.js";
import { philoxBlock } from "../../kernels/philox.js";
import type { LowerContext } from "../core/context.js";
import { sizeOf } from "../core/place.js";
import { mapKernel, type Node } from "./structured.js";

export function lowerRandomBits(ctx: LowerContext, node: Node<"randomBits">): void {
  const [key, counter] = node.operands as [Value, Value];
  const y = node.results[0]!;
  const size = sizeOf(y.type.shape);
  const blocks = dimFloorDiv(dimAdd(size, 3), 4);
  mapKernel(ctx, node, "u32_philox", [blocks], 64, (k) => {
    const keys = k.read(key);
    const counters = k.read(counter);
    const out = k.write(y);
    const n = k.size(size);
    return ([block]) => {
      const b = k.block;
      const at = k.e.index(block!);
      const counter = [
        at,
        B.i32(0),
        b.let("c2", k.loadFlat(counters, 0)),
        b.let("c3", k.loadFlat(counters, 1)),
      ] as const;
      const key = [b.let("k0", k.loadFlat(keys, 0)), b.let("k1", k.loadFlat(keys, 1))] as const;
      const words = philoxBlock(b, counter, key);
      const first = b.let("first", B.mul(at, 4));
      words.forEach((word, j) => {
        const to = j === 0 ? first : B.add(first, j);
        if (j === 0) k.storeFlat(out, to, word);
        else b.if(B.ltS(to, n), () => k.storeFlat(out, to, word));
      });
    };
  });
}
