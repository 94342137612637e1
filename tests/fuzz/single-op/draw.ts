/** Random numbers, shapes and tensors for single ops. */
import { type DType, dtypeInfo } from "../../../ir/dtype.js";
import { elementCount, type Tensor, tensorFrom } from "../../../ir/tensor.js";
import { type Random, random } from "../../onnx/mutate.js";

type Attribute = number | string | readonly number[] | { readonly type: number; readonly [key: string]: unknown };

/** A node with one op and what it is fed. */
export interface SingleOp {
  readonly op: string;
  readonly opset: number;
  readonly attrs: Readonly<Record<string, Attribute>>;
  /** Inputs in order; constants are initializers of the file. */
  readonly inputs: readonly (Given | undefined)[];
  readonly outputs: number;
  /** Largest difference from ONNX Runtime, relative and absolute. */
  readonly tol?: number;
}

export interface Given {
  readonly tensor: Tensor;
  readonly constant: boolean;
}

export const fed = (tensor: Tensor): Given => ({ tensor, constant: false });
export const constant = (tensor: Tensor): Given => ({ tensor, constant: true });
export const float = (f: number): Attribute => ({ type: 1, f });
export const floats = (values: readonly number[]): Attribute => ({ type: 6, floats: [...values] });

export class Draw {
  readonly next: Random;

  constructor(seed: number) {
    this.next = random(seed);
  }

  /** An integer of [low, high]. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(p: number): boolean {
    return this.next() < p;
  }

  pick<const T>(of: readonly T[]): T {
    return of[this.int(0, of.length - 1)]!;
  }

  /** A size, now and then 0 or 1. */
  dim(most = 6): number {
    const p = this.next();
    return p < 0.04 ? 0 : p < 0.2 ? 1 : this.int(2, most);
  }

  shape(low: number, high: number, most = 6): number[] {
    return Array.from({ length: this.int(low, high) }, () => this.dim(most));
  }

  /** At least 1 along each axis. */
  solid(low: number, high: number, most = 6): number[] {
    return this.shape(low, high, most).map((d) => Math.max(d, 1));
  }

  axis(rank: number): number {
    return this.int(-rank, rank - 1);
  }

  /** Some axes, each once, from either end. */
  axes(rank: number): number[] {
    const chosen = Array.from({ length: rank }, (_, a) => a).filter(() => this.chance(0.5));
    return chosen.map((a) => (this.chance(0.4) ? a - rank : a));
  }

  /** A shape that broadcasts with the given one. */
  beside(shape: readonly number[]): number[] {
    return shape.slice(this.int(0, shape.length)).map((d) => (this.chance(0.3) ? 1 : d));
  }

  tensor(dtype: DType, shape: readonly number[], low = -3, high = 3): Tensor {
    const { kind, signed } = dtypeInfo[dtype];
    const whole = kind !== "float";
    const least = kind === "bool" ? 0 : signed || kind === "float" ? low : Math.max(0, low);
    const most = kind === "bool" ? 1 : high;
    const values = Array.from({ length: elementCount(shape) }, () =>
      whole ? this.int(Math.ceil(least), Math.floor(most)) : least + this.next() * (most - least),
    );
    return tensorFrom(dtype, shape, values);
  }

  floats(shape: readonly number[], low = -3, high = 3): Tensor {
    return this.tensor(this.chance(0.85) ? "f32" : "f64", shape, low, high);
  }

  /** As an input or as an initializer. */
  either(tensor: Tensor): Given {
    return this.chance(0.5) ? fed(tensor) : constant(tensor);
  }
}

export const ints = (values: readonly number[], dtype: "i64" | "i32" = "i64"): Tensor =>
  tensorFrom(dtype, [values.length], values);
export const scalarInt = (value: number, dtype: "i64" | "i32" = "i64"): Tensor => tensorFrom(dtype, [], [value]);

/** Makes one case of some op. */
export type Generator = (d: Draw) => SingleOp;
