/** onnxruntime's `InferenceSession`. */

import type { OnnxValue } from "./convert.js";
import { createHandler } from "./create.js";
import type * as face from "./face.js";
import type { FeedsType as FeedsOf, FetchesType as FetchesOf, Handler } from "./handler.js";
import type * as options from "./options.js";
import { Tensor } from "./tensor.js";

type RunOptions = options.RunOptions;
type SessionOptions = options.SessionOptions;
type ValueMetadata = face.ValueMetadata;
/** Outputs by name; of a model with sequences or optionals, arrays of tensors and null as well. */
type ReturnType = Record<string, Tensor>;

const isOptions = (value: unknown): value is object => typeof value === "object" && value !== null;

export class InferenceSession {
  readonly #handler: Handler;

  private constructor(handler: Handler) {
    this.#handler = handler;
  }

  /**
   * A session of a model: of a path (Node) or address, of bytes, or of a part of a buffer.
   * @throws ModelError where the model can't be read or compiled, or options are wrong
   */
  static create(model: string | URL | Uint8Array | Blob, options?: SessionOptions): Promise<InferenceSession>;
  static create(buffer: ArrayBufferLike, options?: SessionOptions): Promise<InferenceSession>;
  static create(
    buffer: ArrayBufferLike,
    byteOffset: number,
    byteLength?: number,
    options?: SessionOptions,
  ): Promise<InferenceSession>;
  static async create(
    model: string | URL | Uint8Array | Blob | ArrayBufferLike,
    second?: SessionOptions | number,
    third?: number,
    fourth?: SessionOptions,
  ): Promise<InferenceSession> {
    if (isOptions(second) || second === undefined) {
      const file = isBuffer(model) ? new Uint8Array(model as ArrayBuffer) : model;
      return new InferenceSession(await createHandler(file, second));
    }
    if (typeof second !== "number" || !isBuffer(model)) throw new TypeError("'options' must be an object.");
    if (fourth !== undefined && !isOptions(fourth)) throw new TypeError("'options' must be an object.");
    return new InferenceSession(await createHandler(partOf(model, second, third), fourth));
  }

  get inputNames(): readonly string[] {
    return this.#handler.inputNames;
  }

  get outputNames(): readonly string[] {
    return this.#handler.outputNames;
  }

  /** Types and shapes of the inputs; sizes that are open by their names. */
  get inputMetadata(): readonly ValueMetadata[] {
    return this.#handler.inputMetadata;
  }

  get outputMetadata(): readonly ValueMetadata[] {
    return this.#handler.outputMetadata;
  }

  /**
   * Runs the model. `fetches` are the outputs that are wanted: a list of names, or an object that has null for each, or a tensor that the
   * result is written to. Default: all.
   * @throws Error, TypeError or RangeError as onnxruntime where arguments are wrong; ModelError naming inputs that do not fit
   */
  run(feeds: FeedsOf, options?: RunOptions): Promise<ReturnType>;
  run(feeds: FeedsOf, fetches: FetchesOf | readonly string[], options?: RunOptions): Promise<ReturnType>;
  async run(
    feeds: FeedsOf,
    second?: FetchesOf | readonly string[] | RunOptions,
    third?: RunOptions,
  ): Promise<ReturnType> {
    if (!isOptions(feeds) || feeds instanceof Tensor || Array.isArray(feeds))
      throw new TypeError(
        "'feeds' must be an object that use input names as keys and OnnxValue as corresponding values.",
      );
    const { fetches, options } = this.#arguments(second, third);
    for (const name of this.inputNames)
      if (feeds[name] === undefined && !this.#handler.isOptional(name))
        throw new Error(`input '${name}' is missing in 'feeds'.`);
    const results = await this.#handler.run(
      feeds,
      fetches ?? Object.fromEntries(this.outputNames.map((name) => [name, null])),
      options,
    );
    return results as ReturnType;
  }

  /** Ends the session's threads and gives its memory back. */
  async release(): Promise<void> {
    await this.#handler.dispose();
  }

  /** From now on each run is timed step by step. */
  startProfiling(): void {
    this.#handler.startProfiling();
  }

  /** Prints what the steps took. */
  endProfiling(): void {
    this.#handler.endProfiling();
  }

  #arguments(
    second: unknown,
    third: unknown,
  ): { readonly fetches: FetchesOf | undefined; readonly options: RunOptions } {
    if (second === undefined) return { fetches: undefined, options: {} };
    if (second === null) throw new TypeError("Unexpected argument[1]: cannot be null.");
    if (typeof second !== "object") throw new TypeError("Unexpected argument[1]: must be 'fetches' or 'options'.");
    if (second instanceof Tensor) throw new TypeError("'fetches' cannot be a Tensor");
    const fetches = Array.isArray(second) ? this.#named(second) : this.#picked(second as FetchesOf);
    if (!fetches) return { fetches, options: second };
    if (third !== undefined && !isOptions(third)) throw new TypeError("'options' must be an object.");
    return { fetches, options: third ?? {} };
  }

  #named(names: readonly unknown[]): FetchesOf {
    if (names.length === 0) throw new TypeError("'fetches' cannot be an empty array.");
    for (const name of names) {
      if (typeof name !== "string") throw new TypeError("'fetches' must be a string array or an object.");
      if (!this.outputNames.includes(name)) throw new RangeError(`'fetches' contains invalid output name: ${name}.`);
    }
    return Object.fromEntries(names.map((name) => [name, null]));
  }

  /** Outputs that an object names; undefined where it names none, and so is one of options. */
  #picked(object: FetchesOf): FetchesOf | undefined {
    const picked = this.outputNames.filter(
      (name) => Object.hasOwn(object, name) && (object[name] === null || object[name] instanceof Tensor),
    );
    return picked.length > 0 ? Object.fromEntries(picked.map((name) => [name, object[name]!])) : undefined;
  }
}

const isBuffer = (value: unknown): value is ArrayBufferLike =>
  value instanceof ArrayBuffer || (typeof SharedArrayBuffer !== "undefined" && value instanceof SharedArrayBuffer);

function partOf(buffer: ArrayBufferLike, offset: number, given: unknown): Uint8Array {
  if (!Number.isSafeInteger(offset)) throw new RangeError("'byteOffset' must be an integer.");
  if (offset < 0 || offset >= buffer.byteLength)
    throw new RangeError(`'byteOffset' is out of range [0, ${buffer.byteLength}).`);
  const rest = buffer.byteLength - offset;
  if (given !== undefined && typeof given !== "number") throw new TypeError("'byteLength' must be a number.");
  const length = given ?? rest;
  if (!Number.isSafeInteger(length)) throw new RangeError("'byteLength' must be an integer.");
  if (length <= 0 || length > rest) throw new RangeError(`'byteLength' is out of range (0, ${rest}].`);
  return new Uint8Array(buffer as ArrayBuffer, offset, length);
}

/** onnxruntime's names of these types. */
export declare namespace InferenceSession {
  type OnnxValueMapType = Readonly<Record<string, OnnxValue>>;
  type NullableOnnxValueMapType = FetchesOf;
  type FeedsType = FeedsOf;
  type FetchesType = FetchesOf | readonly string[];
  type ReturnType = Record<string, Tensor>;
  type SessionOptions = options.SessionOptions;
  type ExecutionProviderConfig = NonNullable<options.SessionOptions["executionProviders"]>[number];
  type RunOptions = options.RunOptions;
  type ValueMetadata = face.ValueMetadata;
  type TensorValueMetadata = Extract<face.ValueMetadata, { isTensor: true }>;
  type NonTensorValueMetadata = Extract<face.ValueMetadata, { isTensor: false }>;
}
