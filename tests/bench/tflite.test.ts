/** TFLite files that bench/ writes, read back by the rules of FlatBuffers: https://flatbuffers.dev/internals. */

import { describe, expect, it } from "vitest";
import { nn } from "wasmith";
import { exported } from "../../bench/models/model.js";
import { tfliteOf } from "../../bench/models/tflite.js";
import { type OperatorName, operatorTypes } from "../../bench/models/tflite-file.js";
import { ModelError } from "../../ir/errors.js";
import { convNet } from "../../models/convnet/model.js";

/** A table of a file: fields by id. */
class Table {
  readonly #view: DataView;
  readonly #at: number;

  constructor(view: DataView, at: number) {
    this.#view = view;
    this.#at = at;
  }

  #field(id: number): number | undefined {
    const vtable = this.#at - this.#view.getInt32(this.#at, true);
    const size = this.#view.getUint16(vtable, true);
    const offset = 4 + 2 * id < size ? this.#view.getUint16(vtable + 4 + 2 * id, true) : 0;
    return offset === 0 ? undefined : this.#at + offset;
  }

  #follow(at: number): number {
    expect(at % 4).toBe(0);
    return at + this.#view.getUint32(at, true);
  }

  byte = (id: number): number => this.#view.getInt8(this.#field(id)!);
  int(id: number): number {
    expect(this.#field(id)! % 4).toBe(0);
    return this.#view.getInt32(this.#field(id)!, true);
  }

  table = (id: number): Table => new Table(this.#view, this.#follow(this.#field(id)!));
  /** Where a vector begins and how many items it has; an absent one has none. */
  #vector(id: number): readonly [at: number, length: number] {
    const field = this.#field(id);
    if (field === undefined) return [0, 0];
    const at = this.#follow(field);
    return [at + 4, this.#view.getUint32(at, true)];
  }

  tables(id: number): readonly Table[] {
    const [at, length] = this.#vector(id);
    return Array.from({ length }, (_, i) => new Table(this.#view, this.#follow(at + 4 * i)));
  }

  ints(id: number): readonly number[] {
    const [at, length] = this.#vector(id);
    return Array.from({ length }, (_, i) => this.#view.getInt32(at + 4 * i, true));
  }

  bytes(id: number): Uint8Array {
    const [at, length] = this.#vector(id);
    expect(at % 16).toBe(0);
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + at, length);
  }

  text(id: number): string {
    const [at, length] = this.#vector(id);
    expect(this.#view.getUint8(at + length)).toBe(0);
    return new TextDecoder().decode(new Uint8Array(this.#view.buffer, this.#view.byteOffset + at, length));
  }
}

function read(file: Uint8Array) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  expect(new TextDecoder().decode(file.subarray(4, 8))).toBe("TFL3");
  const model = new Table(view, view.getUint32(0, true));
  expect(model.int(0)).toBe(3);
  const names = Object.entries(operatorTypes).map(([name, { code }]) => [Number(code), name as OperatorName] as const);
  const codes = model.tables(1).map((code) => new Map(names).get(code.int(3))!);
  const buffers = model.tables(4);
  const [main] = model.tables(2);
  const tensors = main!
    .tables(0)
    .map((t) => ({ shape: t.ints(0), name: t.text(3), data: buffers[t.int(2)]!.bytes(0) }));
  const operators = main!.tables(3).map((operator) => ({
    name: codes[operator.int(0)]!,
    inputs: operator.ints(1).map((at) => tensors[at]!),
    outputs: operator.ints(2).map((at) => tensors[at]!),
    operator,
  }));
  return {
    inputs: main!.ints(1).map((at) => tensors[at]!),
    outputs: main!.ints(2).map((at) => tensors[at]!),
    operators,
  };
}

const floats = (data: Uint8Array) => Array.from(new Float32Array(data.slice().buffer));
const of = (make: () => nn.Module, ...shape: readonly number[]) =>
  read(tfliteOf(exported("m", make, { x: { dtype: "f32", shape } })));
const names = ({ operators }: ReturnType<typeof read>) => operators.map(({ name }) => name);

describe("TFLite files", () => {
  it("hold a convolutional net with biases and activations inside its operators, images with channels last", () => {
    const file = of(() => convNet(), 2, 1, 32, 32);
    expect(names(file)).toEqual([
      ...["CONV_2D", "MAX_POOL_2D", "CONV_2D", "MAX_POOL_2D", "TRANSPOSE", "RESHAPE"],
      ...["FULLY_CONNECTED", "FULLY_CONNECTED", "FULLY_CONNECTED"],
    ]);
    expect(file.inputs).toMatchObject([{ name: "x", shape: [2, 32, 32, 1] }]);
    expect(file.outputs).toMatchObject([{ name: "output", shape: [2, 10] }]);
    const [first] = file.operators;
    expect(first!.inputs.map(({ shape }) => shape)).toEqual([[2, 32, 32, 1], [6, 5, 5, 1], [6]]);
    expect(first!.outputs[0]!.shape).toEqual([2, 28, 28, 6]);
    const options = first!.operator.table(4);
    expect([options.byte(0), options.int(1), options.int(2), options.byte(3)]).toEqual([1, 1, 1, 1]);
  });

  it("store filters with the input channels last, of depthwise convolutions with the output channels last", () => {
    const weight = Array.from({ length: 12 }, (_, i) => i);
    const weightInit = () => weight;
    const dense = of(() => nn.Conv2d(3, 2, [1, 2], { weightInit, bias: false }), 1, 3, 4, 4).operators[0]!;
    expect(dense.inputs.map(({ shape }) => shape)).toEqual([[1, 4, 4, 3], [2, 1, 2, 3], [2]]);
    expect(floats(dense.inputs[1]!.data)).toEqual([0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
    const deep = of(() => nn.Conv2d(3, 3, 2, { weightInit, groups: 3, bias: false }), 1, 3, 4, 4).operators[0]!;
    expect(deep).toMatchObject({ name: "DEPTHWISE_CONV_2D" });
    expect(floats(deep.inputs[1]!.data)).toEqual([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
  });

  it("pad where TensorFlow's padding is another one, maxima of signed numbers with the lowest number", () => {
    expect(names(of(() => nn.Conv2d(2, 2, 3, { padding: 1 }), 1, 2, 8, 8))).toEqual(["CONV_2D", "TRANSPOSE"]);
    const strided = of(() => nn.Conv2d(2, 2, 3, { padding: 1, stride: 2 }), 1, 2, 8, 8);
    expect(names(strided)).toEqual(["PAD", "CONV_2D", "TRANSPOSE"]);
    expect(strided.operators[0]!.outputs[0]!.shape).toEqual([1, 10, 10, 2]);
    const pool = () => nn.MaxPool2d(3, { stride: 2, padding: 1 });
    expect(names(of(pool, 1, 2, 8, 8))).toEqual(["PADV2", "MAX_POOL_2D", "TRANSPOSE"]);
    const after = of(() => nn.sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), pool()), 1, 2, 8, 8);
    expect(names(after)).toEqual(["CONV_2D", "PAD", "MAX_POOL_2D", "TRANSPOSE"]);
  });

  it("are refused by name where an op has no operator", () => {
    const refused = () => of(() => nn.ConvTranspose2d(1, 1, 2), 1, 1, 4, 4);
    expect(refused).toThrow(ModelError);
    expect(refused).toThrow(/no TFLite operator for convInputGrad/);
  });
});
