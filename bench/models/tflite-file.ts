/** TFLite files, version 3: what they hold and how it is written. Numbers are those of the schema: https://github.com/google-ai-edge/LiteRT, schema.fbs. */

import { bytes, encodeFlatbuffer, type Field, f32, i8, i32, ints, table, tables, text } from "./flatbuffer.js";

export const tensorTypes = { f32: 0, i32: 2 } as const;
export type TensorTypeName = keyof typeof tensorTypes;

export interface TfliteTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: TensorTypeName;
  /** Of constants. */
  readonly data?: Uint8Array;
}

export const activations = { none: 0, relu: 1, relu6: 3 } as const;
export const paddings = { same: 0, valid: 1 } as const;

const activation = { activation: i8 };
const conv = { padding: i8, strideW: i32, strideH: i32 };
const dilation = { dilationW: i32, dilationH: i32 };

/** Builtin operators: their code, the member of the union of options, and the fields of these in the order of their ids. */
export const operatorTypes = {
  ADD: { code: 0, options: 11, fields: activation },
  CONCATENATION: { code: 2, options: 10, fields: { axis: i32, activation: i8 } },
  CONV_2D: { code: 3, options: 1, fields: { ...conv, activation: i8, ...dilation } },
  DEPTHWISE_CONV_2D: { code: 4, options: 2, fields: { ...conv, multiplier: i32, activation: i8, ...dilation } },
  FULLY_CONNECTED: { code: 9, options: 8, fields: { activation: i8, weightsFormat: i8, keepDims: i8 } },
  LOGISTIC: { code: 14, options: 0, fields: {} },
  MAX_POOL_2D: { code: 17, options: 5, fields: { ...conv, width: i32, height: i32, activation: i8 } },
  MUL: { code: 18, options: 21, fields: activation },
  RELU: { code: 19, options: 0, fields: {} },
  RESHAPE: { code: 22, options: 17, fields: {} },
  SOFTMAX: { code: 25, options: 9, fields: { beta: f32 } },
  TANH: { code: 28, options: 0, fields: {} },
  PAD: { code: 34, options: 22, fields: {} },
  GATHER: { code: 36, options: 23, fields: { axis: i32 } },
  TRANSPOSE: { code: 39, options: 26, fields: {} },
  MEAN: { code: 40, options: 27, fields: { keepDims: i8 } },
  SUB: { code: 41, options: 28, fields: activation },
  CAST: { code: 53, options: 37, fields: { from: i8, to: i8 } },
  MAXIMUM: { code: 55, options: 39, fields: {} },
  MINIMUM: { code: 57, options: 39, fields: {} },
  PADV2: { code: 60, options: 43, fields: {} },
  SLICE: { code: 65, options: 48, fields: {} },
  RSQRT: { code: 76, options: 0, fields: {} },
  LEAKY_RELU: { code: 98, options: 75, fields: { alpha: f32 } },
  SQUARED_DIFFERENCE: { code: 99, options: 76, fields: {} },
  BATCH_MATMUL: { code: 126, options: 101, fields: { transposeA: i8, transposeB: i8 } },
  GELU: { code: 150, options: 116, fields: { approximate: i8 } },
} as const satisfies Record<
  string,
  { code: number; options: number; fields: Readonly<Record<string, (value: number) => Field>> }
>;
export type OperatorName = keyof typeof operatorTypes;

export interface TfliteOperator {
  readonly name: OperatorName;
  /** Indices of tensors. */
  readonly inputs: number[];
  readonly outputs: readonly number[];
  /** By name of the field; what is missing has the schema's default. */
  readonly options: Record<string, number>;
}

export interface TfliteFile {
  readonly tensors: readonly TfliteTensor[];
  readonly operators: readonly TfliteOperator[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** Codes from here on don't fit into the byte that older readers read, which holds this number instead. */
const firstWideCode = 127;

export function encodeTflite({ tensors, operators, inputs, outputs }: TfliteFile): Uint8Array {
  const used = [...new Set(operators.map(({ name }) => name))];
  const codes = used.map((name) => {
    const { code } = operatorTypes[name];
    return table(i8(Math.min(code, firstWideCode)), undefined, i32(1), i32(code));
  });
  // The first buffer is that of all tensors without data.
  const buffers = [table()];
  const described = tensors.map(({ name, shape, type, data }) => {
    if (data !== undefined) buffers.push(table(bytes(data)));
    return table(ints(shape), i8(tensorTypes[type]), i32(data === undefined ? 0 : buffers.length - 1), text(name));
  });
  const steps = operators.map((operator) => {
    const { options, fields } = operatorTypes[operator.name];
    const values = Object.entries(fields).map(([field, make]: [string, (value: number) => Field]) => {
      const value = operator.options[field];
      return value === undefined ? undefined : make(value);
    });
    const chosen = options === 0 ? [] : [i8(options), table(...values)];
    return table(i32(used.indexOf(operator.name)), ints(operator.inputs), ints(operator.outputs), ...chosen);
  });
  const main = table(tables(described), ints(inputs), ints(outputs), tables(steps), text("main"));
  return encodeFlatbuffer(table(i32(3), tables(codes), tables([main]), text("wasmith bench"), tables(buffers)), "TFL3");
}
