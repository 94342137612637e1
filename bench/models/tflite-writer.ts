/** The tensors and operators of a TFLite file while a graph is lowered into it, and how its values lie there. */

import { ModelError } from "../../ir/errors.js";
import { type Graph, type GraphNode, paramName, staticShape, useCounts, type Value } from "../../ir/graph.js";
import { evaluateValues } from "../../ir/reference.js";
import { bytesOf, forEachIndex, stridesOf, type Tensor, tensor, tensorFrom } from "../../ir/tensor.js";
import type { OperatorName, TensorTypeName, TfliteOperator, TfliteTensor } from "./tflite-file.js";

/** Where a value is, and how it lies. */
export interface Stored {
  readonly tensor: number;
  readonly channelsLast: boolean;
}

export const toLast = [0, 2, 3, 1];
const toFirst = [0, 3, 1, 2];
export const permuted = (shape: readonly number[], perm: readonly number[]) => perm.map((axis) => shape[axis]!);
export const lastShape = (shape: readonly number[], channelsLast: boolean) =>
  channelsLast ? permuted(shape, toLast) : shape;

export const resultShape = (node: GraphNode) => staticShape(node.results[0]!.type.shape);
/** Of an image. */
export const imageShape = (node: GraphNode) => permuted(resultShape(node), toLast);

export function transposed(t: Tensor, perm: readonly number[]): Tensor {
  const strides = permuted(stridesOf(t.shape), perm);
  const shape = permuted(t.shape, perm);
  const data = t.data.slice();
  forEachIndex(shape, (index, flat) => {
    data[flat] = t.data[index.reduce((at, i, axis) => at + i * strides[axis]!, 0)]!;
  });
  return tensor(t.dtype, shape, data);
}

export const isConstant = ({ def }: Value): boolean =>
  def.op === "constant" || (def.op !== "param" && def.operands.length > 0 && def.operands.every(isConstant));

export const unsupported = (node: GraphNode, what: string): ModelError =>
  new ModelError({ where: node.loc ?? node.op, message: `no TFLite operator for ${node.op} ${what}` });

export class Writer {
  readonly tensors: TfliteTensor[] = [];
  readonly operators: TfliteOperator[] = [];
  readonly #stored = new Map<Value, Stored>();
  readonly #known = new Map<Value, Tensor>();
  readonly #uses: ReadonlyMap<Value, number>;
  readonly #lower: (to: Writer, node: GraphNode) => Stored;

  constructor(graph: Graph, lower: (to: Writer, node: GraphNode) => Stored) {
    this.#uses = useCounts(graph);
    this.#lower = lower;
  }

  #tensor(shape: readonly number[], type: TensorTypeName, more: { name?: string; data?: Uint8Array } = {}): number {
    return this.tensors.push({ name: `t${this.tensors.length}`, shape, type, ...more }) - 1;
  }

  /** Whether nothing else reads the value, so that its producer may do more. */
  onlyUse = (value: Value): boolean => this.#uses.get(value) === 1;

  input(value: Value, channelsLast: boolean): number {
    const type = value.type.dtype === "i64" ? "i32" : value.type.dtype;
    if (type !== "f32" && type !== "i32") throw new ModelError(`no TFLite input of ${type}`);
    const shape = lastShape(staticShape(value.type.shape), channelsLast);
    const at = this.#tensor(shape, type, { name: paramName(value) });
    this.#stored.set(value, { tensor: at, channelsLast });
    return at;
  }

  host(value: Value): Tensor {
    return evaluateValues([value], this.#known, new Map())[0]!;
  }

  constant(t: Tensor): number {
    const held = t.dtype === "i64" ? tensorFrom("i32", t.shape, Array.from(t.data, Number)) : t;
    if (held.dtype !== "f32" && held.dtype !== "i32") throw new ModelError(`no TFLite constant of ${held.dtype}`);
    return this.#tensor(held.shape, held.dtype, { data: bytesOf(held) });
  }

  ints(...values: readonly number[]): number {
    return this.constant(tensorFrom("i32", [values.length], values));
  }

  pairs(low: readonly number[], high: readonly number[]): number {
    return this.constant(
      tensorFrom(
        "i32",
        [low.length, 2],
        low.flatMap((a, i) => [a, high[i]!]),
      ),
    );
  }

  scalar(value: number): number {
    return this.constant(tensorFrom("f32", [], [value]));
  }

  shapeOf(at: number): readonly number[] {
    return this.tensors[at]!.shape;
  }

  /** Adds an operator with one result. */
  add(
    name: OperatorName,
    inputs: readonly number[],
    shape: readonly number[],
    options: Readonly<Record<string, number>> = {},
  ): number {
    const out = this.#tensor(shape, "f32");
    this.operators.push({ name, inputs: [...inputs], outputs: [out], options: { ...options } });
    return out;
  }

  producer(at: number): TfliteOperator | undefined {
    return this.operators.find(({ outputs }) => outputs.includes(at));
  }

  stored(value: Value): Stored {
    const known = this.#stored.get(value);
    if (known !== undefined) return known;
    const made = this.#make(value);
    this.#stored.set(value, made);
    return made;
  }

  #make(value: Value): Stored {
    if (isConstant(value)) return { tensor: this.constant(this.host(value)), channelsLast: false };
    const node = value.def as GraphNode;
    if (value.index > 0) throw unsupported(node, "and its further results");
    return this.#lower(this, node);
  }

  /** The tensor of a value that lies as is asked for. */
  at(value: Value, channelsLast = false): number {
    const { tensor: at, channelsLast: lies } = this.stored(value);
    if (lies === channelsLast) return at;
    const shape = staticShape(value.type.shape);
    const wanted = lastShape(shape, channelsLast);
    // With one channel or one pixel both orders are the same bytes.
    if (shape[1] === 1 || shape[2]! * shape[3]! === 1) return this.reshape(at, wanted);
    return this.add("TRANSPOSE", [at, this.ints(...(channelsLast ? toLast : toFirst))], wanted);
  }

  reshape(at: number, shape: readonly number[]): number {
    return this.add("RESHAPE", [at, this.ints(...shape)], shape);
  }

  /** What an elementwise operator reads: broadcasts are implied by sizes of 1. */
  operand(value: Value, channelsLast: boolean): number {
    const { def } = value;
    if (def.op !== "broadcast") {
      if (!isConstant(value) || !channelsLast) return this.at(value, channelsLast);
      return this.constant(transposed(this.host(value), toLast));
    }
    const from = def.operands[0]!;
    const shape: number[] = value.type.shape.map(() => 1);
    def.attrs.axes.forEach((axis, i) => {
      shape[axis] = from.type.shape[i] as number;
    });
    if (isConstant(from)) {
      const held = this.host(from);
      // A scalar needs no axes.
      if (held.data.length === 1) return this.constant(tensor(held.dtype, [], held.data));
      const spread = tensor(held.dtype, shape, held.data);
      return this.constant(channelsLast ? transposed(spread, toLast) : spread);
    }
    if (channelsLast && from.type.shape.length === 4) return this.at(from, true);
    if (channelsLast) throw unsupported(def, "of something else than an image to an image");
    const at = this.at(from);
    return from.type.shape.length === shape.length ? at : this.reshape(at, shape);
  }

  /** Whether an operand lies channels last, so that the result does. */
  liesLast(operands: readonly Value[]): boolean {
    return operands.some((value) => {
      const from = value.def.op === "broadcast" ? value.def.operands[0]! : value;
      return !isConstant(from) && this.stored(from).channelsLast;
    });
  }
}
