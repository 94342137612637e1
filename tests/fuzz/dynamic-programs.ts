/** Random programs whose sizes are found in the run: at the top, in branches, and in rounds of loops. */

import { broadcastTo, concatenate, np, sliceAxis, sum } from "../../ir/build.js";
import { ifOp, loopOp, scanOp } from "../../ir/control-build.js";
import { type Dim, type DimExpr, dimSymbol } from "../../ir/dim.js";
import { dimUpperBound } from "../../ir/dim-upper.js";
import { type Graph, graph, param, type Value } from "../../ir/graph.js";
import { cast } from "../../ir/ops/cast.js";
import { scalarConstant } from "../../ir/ops/constant.js";
import { nonZero, range, unique, unknownSize } from "../../ir/ops/dynamic.js";
import { add, floor } from "../../ir/ops/elementwise.js";
import { gather } from "../../ir/ops/indexing.js";
import { reshape } from "../../ir/ops/movement.js";
import { sort } from "../../ir/ops/sort.js";
import type { Random } from "../graph/random.js";

/** Most elements of a vector: random concatenations don't go beyond. */
const mostElements = 400;
/** What says nothing, as `maxUnknownSize` by default: memory must not go by it. */
const unbounded = 2 ** 31 - 1;

export class DynamicPrograms {
  readonly #random: Random;
  #sizes = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!;
  }

  #size(bound: Dim): DimExpr {
    return unknownSize(`size_${this.#sizes++}`, bound);
  }

  /** x: f32[n] for n in [0, 64], and a scalar, of small integers. */
  program(steps: number): Graph {
    const n = dimSymbol("n", { min: 0, max: 64 });
    const inputs = [param("x", { dtype: "f32", shape: [n] }), param("c", { dtype: "f32", shape: [] })];
    const made = this.#steps(inputs.slice(0, 1), inputs[1]!, steps, 2);
    // Most values are results, so that they live to the end, above one another.
    const results = made.filter((_, i) => i === made.length - 1 || this.#random() < 0.6);
    return graph("program", inputs, results);
  }

  #steps(start: readonly Value[], c: Value, count: number, depth: number): readonly Value[] {
    const vectors = [...start];
    for (let i = 0; i < count; i++) vectors.push(this.#vector(vectors, c, depth));
    return vectors;
  }

  #vector(vectors: readonly Value[], c: Value, depth: number): Value {
    const x = this.#pick(vectors);
    switch (this.#below(depth > 0 ? 9 : 6)) {
      case 0:
        return this.#random() < 0.5 ? wrap(np.mul(x, 3), 17) : wrap(add([x, spread(sum(x, 0), x)]), 17);
      case 1:
        return this.#compress(x);
      case 2: {
        const end = cast([wrap(sum(x, 0), 32)], { to: "i64" });
        const [from, by] = [scalarConstant("i64", 0), scalarConstant("i64", 1 + this.#below(3))];
        const made = range([from, end, by], { defines: this.#size(unbounded) });
        return wrap(np.add(cast([made], { to: "f32" }), c), 17);
      }
      case 3: {
        const y = this.#pick(vectors);
        const most = [x, y].map((v) => dimUpperBound(v.type.shape[0]!));
        return most.every((d) => typeof d === "number" && d <= mostElements / 2)
          ? concatenate([x, y], 0)
          : np.add(x, 1);
      }
      case 4:
        return unique([x], { defines: this.#size(x.type.shape[0]!), sorted: this.#random() < 0.5 })[0]!;
      case 5:
        return this.#random() < 0.5
          ? sort([x], { axis: 0, descending: this.#random() < 0.5 })[0]!
          : sliceAxis(x, 0, 0, x.type.shape[0]!);
      case 6:
        return this.#branch(vectors, x, c, depth - 1);
      case 7:
        return this.#loop(vectors, x, c, depth - 1);
      default:
        return this.#scan(vectors, x, c, depth - 1);
    }
  }

  #compress(x: Value): Value {
    const size = this.#size(x.type.shape[0]!);
    const places = reshape([nonZero([np.gt(x, this.#below(12))], { defines: size })], { shape: [size] });
    return gather([x, places], { axis: 0 });
  }

  /** Branches of sizes of their own. */
  #branch(vectors: readonly Value[], x: Value, c: Value, depth: number): Value {
    const make = () => [this.#steps(vectors, c, 1 + this.#below(3), depth).at(-1)!];
    const size = this.#size(unbounded);
    const [made] = ifOp(np.gt(wrap(sum(x, 0), 2), 0), make, make, { shapes: [[size]], defines: [size] });
    return made!;
  }

  /** A scalar is carried; each round finds sizes of its own. */
  #loop(vectors: readonly Value[], x: Value, c: Value, depth: number): Value {
    const { carried } = loopOp(
      { tripCount: scalarConstant("i64", this.#below(4)), carried: [c, x] },
      (_, [total, kept]) => {
        const found = this.#steps([...vectors, kept!], total!, 1 + this.#below(3), depth).at(-1)!;
        return { carried: [wrap(add([total!, sum(found, 0)]), 17), wrap(add([kept!, spread(total!, kept!)]), 17)] };
      },
    );
    return wrap(add([carried[1]!, spread(carried[0]!, carried[1]!)]), 17);
  }

  #scan(vectors: readonly Value[], x: Value, c: Value, depth: number): Value {
    const { scanned } = scanOp({ carried: [c], inputs: [x], reverse: this.#random() < 0.5 }, ([total], [row]) => {
      const found = this.#steps(vectors, np.add(total!, row!), 1 + this.#below(2), depth).at(-1)!;
      const next = wrap(add([total!, sum(found, 0)]), 17);
      return { carried: [next], scanned: [wrap(np.add(next, row!), 17)] };
    });
    return scanned[0]!;
  }
}

const spread = (scalar: Value, like: Value): Value => broadcastTo(scalar, like.type.shape);

/** Integers stay small, so that sums of them are exact, and sizes found from them the same everywhere. */
const wrap = (x: Value, by: number): Value => np.sub(x, np.mul(floor([np.div(x, by)]), by));
