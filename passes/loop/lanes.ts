/** How a scalar expression of a loop becomes a vector expression over its next iterations: the vectoriser's core. */

import { InternalError } from "../../ir/errors.js";
import type { Expr, LoopType, VectorKind } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { isVector } from "../../ir/loop-types.js";
import { isCall, mapOperands, operandsOf } from "../../ir/loop-walk.js";

/** Why a loop stays scalar. */
export class NotVectorizable extends Error {}

/** What a name stands for inside the vector loop. */
export type Meaning =
  /** Bound outside the loop, or equal in all lanes. */
  | { readonly kind: "uniform" }
  /** A scalar that holds lane 0's value; lane k has `stride·k` more. */
  | { readonly kind: "affine"; readonly stride: number }
  /** A vector. */
  | { readonly kind: "vector"; readonly type: VectorKind }
  /** One scalar variable per lane. */
  | { readonly kind: "scalars"; readonly names: readonly string[] };

const vectorOf: Readonly<Record<2 | 4, Readonly<Partial<Record<LoopType, VectorKind>>>>> = {
  4: { i32: "i32x4", f32: "f32x4", mask: "mask32x4" },
  2: { i64: "i64x2", f64: "f64x2", mask: "mask64x2" },
};

export class Lanes {
  readonly count: 2 | 4;
  /** Names bound in the loop; the others are uniform. */
  readonly meanings = new Map<string, Meaning>();
  /** Loads, stores and math calls made for all lanes at once, and scalar copies made for single lanes: the gain and the cost. */
  wide = 0;
  copies = 0;

  constructor(count: 2 | 4, index: string) {
    this.count = count;
    this.meanings.set(index, { kind: "affine", stride: 1 });
  }

  meaning(name: string): Meaning {
    return this.meanings.get(name) ?? { kind: "uniform" };
  }

  vectorType(type: LoopType): VectorKind {
    const vector = vectorOf[this.count][type];
    if (vector === undefined) throw new NotVectorizable(`${type} values do not go in ${this.count} lanes`);
    return vector;
  }

  /** How an i32 or ptr expression changes from lane to lane; undefined if not by a constant. 0 for what is equal in all lanes. */
  stride(e: Expr): number | undefined {
    if (e.kind === "var") {
      const m = this.meaning(e.name);
      return m.kind === "uniform" ? 0 : m.kind === "affine" ? m.stride : undefined;
    }
    if (e.kind === "convert" && e.op === "ptr.from_i32S") return this.stride(e.x);
    if (e.kind === "binary" && (e.type === "i32" || e.type === "ptr")) {
      const [a, b] = [this.stride(e.a), this.stride(e.b)];
      if (a === undefined || b === undefined) return undefined;
      if (a === 0 && b === 0) return 0;
      if (e.op === "add") return (a + b) | 0;
      if (e.op === "sub") return (a - b) | 0;
      if (e.op === "mul" && e.b.kind === "const") return Math.imul(a, e.b.value as number);
      if (e.op === "mul" && e.a.kind === "const") return Math.imul(b, e.a.value as number);
      if (e.op === "shl" && e.b.kind === "const") return a << (e.b.value as number);
      return undefined;
    }
    if (isCall(e)) return undefined;
    return operandsOf(e).every((x) => this.stride(x) === 0) ? 0 : undefined;
  }

  isUniform(e: Expr): boolean {
    return this.stride(e) === 0;
  }

  /** The scalar value of `e` in lane k. */
  lane(e: Expr, k: number): Expr {
    if (e.kind === "var") {
      const m = this.meaning(e.name);
      if (m.kind === "affine") return B.add(e, m.stride * k);
      if (m.kind === "vector") return B.extractLane(B.v(e.name, m.type), k);
      if (m.kind === "scalars") return B.v(m.names[k] as string, e.type);
      return e;
    }
    if (e.kind === "load") {
      const ahead = this.aheadBy(e, k);
      if (ahead !== undefined) return ahead;
    }
    return B.refolded(mapOperands(e, (x) => this.lane(x, k)));
  }

  /**
   * An access of lane k by lane 0's index and a larger offset, where lanes go up by a constant. Lane 0's own access, which
   * has that index too, vouches for the index being an address.
   */
  aheadBy<T extends { readonly base: Expr; readonly index: Expr; readonly offset: number }>(
    access: T,
    k: number,
  ): T | undefined {
    const stride = this.stride(access.index);
    if (!this.isUniform(access.base) || stride === undefined || stride < 0) return undefined;
    return { ...access, offset: access.offset + stride * k };
  }

  /** The vector of the scalar values of all lanes, each computed by itself. */
  gather(e: Expr): Expr {
    const type = this.vectorType(e.type);
    if (e.kind === "call" || e.kind === "host") throw new NotVectorizable(`@${e.fn} is called`);
    this.copies += this.count;
    let all: Expr = { kind: "splat", type, x: this.lane(e, 0) };
    for (let k = 1; k < this.count; k++) all = B.replaceLane(all, k, this.lane(e, k));
    return all;
  }

  /** `e` over all lanes. */
  vector(e: Expr): Expr {
    if (isVector(e.type)) throw new NotVectorizable("it works on vectors already");
    const type = this.vectorType(e.type);
    if (this.isUniform(e)) {
      if (e.kind === "load") return { ...e, type, splat: true };
      return e.kind === "const" ? B.constant(type, e.value) : { kind: "splat", type, x: e };
    }
    if (e.type === "i32") {
      const stride = this.stride(e);
      if (stride !== undefined)
        return B.add(B.splat(type, e), B.constVector("i32x4", [0, stride, 2 * stride, 3 * stride]));
    }
    return this.#operation(e, type);
  }

  #operation(e: Expr, type: VectorKind): Expr {
    try {
      switch (e.kind) {
        case "var": {
          const m = this.meaning(e.name);
          return m.kind === "vector" ? B.v(e.name, m.type) : this.gather(e);
        }
        case "unary":
          return B.unary(e.op, this.vector(e.x));
        case "binary":
          if (e.op === "shl" || e.op === "shrS" || e.op === "shrU")
            return this.isUniform(e.b) ? B.binary(e.op, this.vector(e.a), e.b) : this.gather(e);
          return B.binary(e.op, this.vector(e.a), this.vector(e.b));
        case "compare":
          return B.compare(e.op, this.vector(e.a), this.vector(e.b));
        case "select": {
          const cond = this.isUniform(e.cond) ? e.cond : this.vector(e.cond);
          return B.select(cond, this.vector(e.a), this.vector(e.b));
        }
        case "fma":
          return B.fma(this.vector(e.a), this.vector(e.b), this.vector(e.c));
        case "math": {
          this.wide++;
          const [x, y] = e.args.map((a) => this.vector(a)) as [Expr, Expr?];
          return B.math(e.fn, x, y);
        }
        case "convert": {
          const x = this.vector(e.x);
          const result = e.op === "bitcast" ? B.bitcast(type, x) : B.convert(e.op, x);
          return result.type === type ? result : this.gather(e);
        }
        case "load":
          if (this.isUniform(e.base) && this.stride(e.index) === 1) {
            this.wide++;
            return B.load(type, e.elem, e.base, e.index, e.offset);
          }
          return this.gather(e);
        default:
          return this.gather(e);
      }
    } catch (error) {
      // There is no such instruction over lanes: lane by lane, then.
      if (error instanceof InternalError) return this.gather(e);
      throw error;
    }
  }
}
