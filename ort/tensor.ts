/** onnxruntime's tensors. */

import {
  dataUrlOf,
  type FromImageOptions,
  type ImageSource,
  pixelsOf,
  planesOfImage,
  type ToImageOptions,
} from "./image.js";
import {
  type ArrayConstructor,
  arrayOf,
  float16Array,
  isPacked,
  isTensorType,
  type NumericData,
  type TensorData,
  type TensorDataOf,
  type TensorType,
  typeOfArray,
} from "./types.js";

/** Where a tensor's elements are: in the memory of JavaScript, or nowhere any more. */
export type TensorLocation = "none" | "cpu" | "cpu-pinned";

/** What `new Tensor` takes for elements. */
export type TensorInit =
  | TensorData
  | Uint8ClampedArray
  | readonly number[]
  | readonly string[]
  | readonly bigint[]
  | readonly boolean[];

interface Pinned {
  readonly location: "cpu-pinned";
  readonly type: TensorType;
  readonly data: NumericData;
  readonly dims: readonly number[];
}

const view = (data: NumericData, array: ArrayConstructor): NumericData =>
  new array(data.buffer, data.byteOffset, data.length);

function elementsOf(type: unknown, data: unknown): TensorData {
  if (!isTensorType(type)) throw new TypeError(`Unsupported tensor type: ${type}.`);
  if (type === "string") {
    if (!Array.isArray(data)) throw new TypeError("A string tensor's data must be a string array.");
    return data as string[];
  }
  const array = arrayOf(type);
  if (Array.isArray(data)) {
    // Numbers would be taken for bits.
    if ((type === "float16" && !float16Array()) || isPacked(type))
      throw new TypeError(
        `Creating a ${type} tensor from number array is not supported. Please use ${array.name} as data.`,
      );
    return type === "int64" || type === "uint64"
      ? array.from((data as (number | bigint)[]).map(BigInt))
      : array.from(data as number[]);
  }
  if (data instanceof (array as unknown as new () => NumericData)) return data;
  if (data instanceof Uint8ClampedArray) {
    if (type === "uint8") return Uint8Array.from(data);
    throw new TypeError("A Uint8ClampedArray tensor's data must be type of uint8");
  }
  if (type === "float16" && data instanceof Uint16Array) return view(data, array);
  throw new TypeError(`A ${type} tensor's data must be type of ${array.name}`);
}

function inferred(data: unknown): readonly [TensorType, TensorData] {
  if (Array.isArray(data)) {
    if (data.length === 0) throw new TypeError("Tensor type cannot be inferred from an empty array.");
    if (typeof data[0] === "string") return ["string", data as string[]];
    if (typeof data[0] === "boolean") return ["bool", Uint8Array.from(data as boolean[], Number)];
    throw new TypeError(`Invalid element type of data array: ${typeof data[0]}.`);
  }
  if (data instanceof Uint8ClampedArray) return ["uint8", Uint8Array.from(data)];
  const type = ArrayBuffer.isView(data) ? typeOfArray(data) : undefined;
  if (type === undefined) throw new TypeError(`Unsupported type for tensor data: ${(data as object)?.constructor}.`);
  return [type, data as NumericData];
}

function sizeOf(dims: readonly number[]): number {
  return dims.reduce((size, dim, i) => {
    if (typeof dim !== "number" || !Number.isSafeInteger(dim))
      throw new TypeError(`dims[${i}] must be an integer, got: ${dim}`);
    if (dim < 0) throw new RangeError(`dims[${i}] must be a non-negative integer, got: ${dim}`);
    return size * dim;
  }, 1);
}

/**
 * A dense, row-major tensor, as `Tensor` of onnxruntime-common: `new Tensor(type, data, dims)` or, where the array says the type,
 * `new Tensor(data, dims)`. Beyond onnxruntime's types it takes all of ONNX: bfloat16 in a `Uint16Array`, the types of eight bits and fewer
 * one element a byte.
 *
 * `instanceof Tensor` is true of tensors of other copies of onnxruntime-common as well: sessions take them.
 */
export class Tensor<T extends TensorType = TensorType> {
  readonly type: T;
  readonly dims: readonly number[];
  /** How many elements. */
  readonly size: number;
  #data: TensorData | undefined;
  #location: TensorLocation = "cpu";

  /** @throws TypeError, or RangeError, where data, type and dims do not fit */
  constructor(type: T, data: TensorDataOf<T> | TensorInit, dims?: readonly number[]);
  constructor(data: TensorInit, dims?: readonly number[]);
  constructor(pinned: Pinned);
  constructor(first: T | TensorInit | Pinned, second?: unknown, third?: readonly number[]) {
    let dims = third as unknown;
    let type: TensorType;
    if (typeof first === "object" && "location" in first) {
      if (first.location !== "cpu-pinned")
        throw new Error(
          `Tensor constructor: unsupported location '${String((first as { location: unknown }).location)}'`,
        );
      const array = isTensorType(first.type) && first.type !== "string" ? arrayOf(first.type) : undefined;
      if (!array) throw new TypeError(`unsupported type "${first.type}" to create tensor from pinned buffer`);
      if (!(first.data instanceof (array as unknown as new () => NumericData)))
        throw new TypeError(`buffer should be of type ${array.name}`);
      ({ type, dims } = first);
      this.#data = first.data;
      this.#location = "cpu-pinned";
    } else if (typeof first === "string") {
      type = first;
      this.#data = elementsOf(first, second);
    } else {
      [type, this.#data] = inferred(first);
      dims = second;
    }
    const { length } = this.#data;
    dims ??= [length];
    if (!Array.isArray(dims)) throw new TypeError("A tensor's dims must be a number array");
    const size = sizeOf(dims);
    if (size !== length && !(isPacked(type) && Math.ceil(size / 2) === length))
      throw new Error(`Tensor's size(${size}) does not match data length(${length}).`);
    this.type = type as T;
    this.dims = dims as readonly number[];
    this.size = size;
  }

  /** True of whatever has a tensor's members: other copies of onnxruntime-common make tensors too. */
  static [Symbol.hasInstance](value: unknown): boolean {
    if (typeof value !== "object" || value === null) return false;
    if (Function.prototype[Symbol.hasInstance].call(Tensor, value)) return true;
    const { type, dims, location, getData } = value as Partial<Tensor>;
    return isTensorType(type) && Array.isArray(dims) && typeof location === "string" && typeof getData === "function";
  }

  /** A tensor over elements whose memory somebody else manages. */
  static fromPinnedBuffer<T extends Exclude<TensorType, "string">>(
    type: T,
    data: TensorDataOf<T>,
    dims: readonly number[] = [data.length],
  ): Tensor<T> {
    return new Tensor<T>({ location: "cpu-pinned", type, data: data as NumericData, dims });
  }

  /** A picture as f32 [1, channels, height, width], in pages and their workers. @throws Error where it can't be read */
  static async fromImage(image: ImageSource, options?: FromImageOptions): Promise<Tensor<"float32">> {
    const { data, dims } = await planesOfImage(image, options);
    return new Tensor<"float32">("float32", data, dims);
  }

  /** The tensor [1, channels, height, width] as pixels, in pages and their workers. */
  toImageData(options?: ToImageOptions): ImageData {
    return pixelsOf(this.data as ArrayLike<number>, this.dims, options);
  }

  /** The same as the address of a picture, in pages. */
  toDataURL(options?: ToImageOptions): string {
    return dataUrlOf(this.toImageData(options));
  }

  /** The elements. @throws Error after `dispose` */
  get data(): TensorDataOf<T> {
    if (this.#data === undefined) throw new Error("The tensor is disposed.");
    return this.#data as TensorDataOf<T>;
  }

  get location(): TensorLocation {
    return this.#location;
  }

  /** The elements; they are there already. */
  async getData(_releaseData?: boolean): Promise<TensorDataOf<T>> {
    return this.data;
  }

  /** Lets go of the elements. */
  dispose(): void {
    this.#data = undefined;
    this.#location = "none";
  }

  /** The same elements in another shape. @throws Error where it has another size */
  reshape(dims: readonly number[]): Tensor<T> {
    const { data } = this;
    return this.#location === "cpu-pinned"
      ? new Tensor<T>({ location: "cpu-pinned", type: this.type, data: data as NumericData, dims })
      : new Tensor<T>(this.type, data, dims);
  }
}

/** onnxruntime's names of these types. */
export declare namespace Tensor {
  type Type = TensorType;
  type DataTypeMap = { [T in TensorType]: TensorDataOf<T> };
  type DataType = TensorData;
  type ElementType = TensorData[number];
  type DataLocation = TensorLocation;
}

export type TypedTensor<T extends TensorType> = Tensor<T>;
