/**
 * Feeds of a model as users have them: tensors, typed arrays, sequences as arrays, absent optionals as null. They are checked against
 * what the model says about its inputs, and flattened to tensors by the names that the importer gives to them.
 */

import { type DType, dtypeInfo, isDType, type TensorData } from "../../ir/dtype.js";
import { ModelError, type Problem } from "../../ir/errors.js";
import { foreignTensorHint } from "../../ir/names.js";
import { elementCount, type Tensor } from "../../ir/tensor.js";
import { sizeName, withoutNames } from "../onnx/inputs.js";
import type { OnnxDim, OnnxType, OnnxValueInfo } from "../onnx/model.js";

/** A tensor, the elements of one whose shape follows from the model, the items of a sequence, or an optional that is absent. */
export type ModelFeed = Tensor | TensorData | readonly ModelFeed[] | null;
export type ModelFeeds = Readonly<Record<string, ModelFeed>>;

/** A size of an axis that the feeds have and the model names or leaves open. */
interface OpenAxis {
  readonly input: string;
  readonly axis: number;
  readonly dim: string;
}

export interface FlatFeeds {
  /** By name; items of a sequence `s` are `s.0`, `s.1` … */
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly lengths: ReadonlyMap<string, number>;
  /** Whether an optional is there. */
  present(name: string): boolean;
  /** Open axes of size 0. */
  readonly emptyAxes: readonly OpenAxis[];
  /** Shapes over what the model says, where the sizes of the feeds contradict its names. */
  readonly shapes: ReadonlyMap<string, readonly OnnxDim[]>;
  /** Initializers that are inputs too and are given. */
  readonly overridden: readonly string[];
}

type TensorType = Extract<OnnxType, { kind: "tensor" }>;

const typeText = ({ dtype, shape }: TensorType): string =>
  `${dtype ?? "?"}[${shape ? shape.map((d) => d ?? "?").join(", ") : "…"}]`;

function describe(feed: unknown): string {
  if (feed === null) return "null";
  if (Array.isArray(feed)) return `an array of ${feed.length}`;
  if (ArrayBuffer.isView(feed)) return feed.constructor.name;
  return typeof feed === "object" ? "an object" : typeof feed;
}

/** What two typed arrays of one kind have in common, over frames and workers. */
const kindOfArray = (data: unknown): string | undefined =>
  ArrayBuffer.isView(data) ? (data as unknown as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] : undefined;

class Flattening implements FlatFeeds {
  readonly tensors = new Map<string, Tensor>();
  readonly lengths = new Map<string, number>();
  readonly emptyAxes: OpenAxis[] = [];
  readonly shapes = new Map<string, OnnxDim[]>();
  readonly overridden: string[] = [];
  readonly problems: Problem[] = [];
  private readonly absent = new Set<string>();
  private readonly types = new Map<string, TensorType>();
  /** Typed arrays whose shape is not known yet. */
  private readonly bare = new Map<string, TensorData>();
  private readonly named = new Map<string, number>();

  present(name: string): boolean {
    return !this.absent.has(name);
  }

  private wrong(name: string, message: string, hint?: string): void {
    this.problems.push({ where: `input "${name}"`, message, hint });
  }

  add(name: string, type: OnnxType | undefined, feed: ModelFeed | undefined): void {
    if (feed === undefined) {
      if (type?.kind === "optional") this.absent.add(name);
      else this.wrong(name, `missing${type?.kind === "tensor" ? `; expected ${typeText(type)}` : ""}`);
    } else if (type === undefined) this.wrong(name, "the file states no type");
    else if (type.kind === "unsupported") this.wrong(name, `inputs that are ${type.what} are not supported`);
    else if (type.kind === "optional") {
      if (feed === null) this.absent.add(name);
      else this.add(name, type.element, feed);
    } else if (type.kind === "sequence") {
      if (!Array.isArray(feed)) {
        this.wrong(name, `expected a sequence, got ${describe(feed)}`, "pass an array of its items");
        return;
      }
      this.lengths.set(name, feed.length);
      // Items may differ in size, whatever their type's names say.
      const element = withoutNames(type.element);
      feed.forEach((item: ModelFeed, i: number) => {
        this.add(`${name}.${i}`, element, item);
      });
    } else this.tensor(name, type, feed);
  }

  private tensor(name: string, type: TensorType, feed: ModelFeed): void {
    const expected = `expected ${typeText(type)}`;
    if (type.dtype === "string" || isStrings(feed)) {
      this.wrong(name, "strings are not supported", "process text before the model, and give it numbers");
      return;
    }
    if (type.dtype === undefined) {
      this.wrong(name, "the file states no element type");
      return;
    }
    this.types.set(name, type);
    if (ArrayBuffer.isView(feed)) {
      if (this.checkArray(name, expected, type.dtype, feed)) this.bare.set(name, feed as TensorData);
      return;
    }
    const { dtype, shape, data } = (feed ?? {}) as Partial<Tensor>;
    if (data === undefined || !Array.isArray(shape)) {
      const hint = foreignTensorHint(feed) ?? "pass { dtype, shape, data } or a typed array";
      this.wrong(name, `${expected}, got ${describe(feed)}`, hint);
    } else if (dtype !== type.dtype) {
      const known = typeof dtype === "string" && isDType(dtype);
      const hint = known ? "convert the data to the model's dtype" : `its dtype is called "${type.dtype}"`;
      this.wrong(name, `${expected}, got dtype ${typeof dtype === "string" ? `"${dtype}"` : describe(dtype)}`, hint);
    } else if (!this.checkArray(name, expected, dtype, data)) return;
    else if (!shape.every((d) => Number.isInteger(d) && d >= 0)) this.wrong(name, `${expected}, got shape [${shape}]`);
    else if (elementCount(shape) !== data.length)
      this.wrong(name, `${expected}, got shape [${shape}] with ${data.length} elements of data`);
    else this.shaped(name, type, { dtype, shape, data });
  }

  private checkArray(name: string, expected: string, dtype: DType, data: unknown): data is TensorData {
    const wanted = dtypeInfo[dtype].array.name;
    if (kindOfArray(data) === wanted) {
      const at = dtype === "bool" ? (data as Uint8Array).findIndex((b) => b > 1) : -1;
      if (at < 0) return true;
      this.wrong(name, `${expected}, got the value ${(data as Uint8Array)[at]} at index ${at}`, "bools are 0 or 1");
      return false;
    }
    this.wrong(name, `${expected}, got ${describe(data)}`, `${dtype} elements come in a ${wanted}`);
    return false;
  }

  private shaped(name: string, type: TensorType, given: Tensor): void {
    const tensor = this.ofRank(type, given);
    const { shape } = tensor;
    const stated = type.shape;
    if (stated && (stated.length !== shape.length || stated.some((d, i) => typeof d === "number" && d !== shape[i]))) {
      this.wrong(name, `expected ${typeText(type)}, got ${tensor.dtype}[${shape.join(", ")}]`);
      return;
    }
    this.tensors.set(name, tensor);
    shape.forEach((size, axis) => {
      const stands = stated?.[axis] ?? null;
      if (typeof stands === "number") return;
      const own = sizeName(null, name, axis);
      let dim = sizeName(stands, name, axis);
      // A name that stands for two sizes means nothing: the size is the axis's own.
      if ((this.named.get(dim) ?? size) !== size) {
        const open = this.shapes.get(name) ?? [...stated!];
        open[axis] = null;
        this.shapes.set(name, open);
        dim = own;
      } else this.named.set(dim, size);
      if (size === 0) this.emptyAxes.push({ input: name, axis, dim });
    });
  }

  /** A single element serves for any shape of one. */
  private ofRank({ shape }: TensorType, given: Tensor): Tensor {
    if (!shape || shape.length === given.shape.length || given.data.length !== 1) return given;
    return shape.every((d) => d === 1 || typeof d !== "number") ? { ...given, shape: shape.map(() => 1) } : given;
  }

  /** Gives shapes to typed arrays: sizes that the model and other feeds say, and one that follows from the length. */
  shapeBare(): void {
    for (const [name, data] of this.bare) {
      const type = this.types.get(name)!;
      const sizes = type.shape?.map((d, axis) =>
        typeof d === "number" ? d : (this.named.get(sizeName(d, name, axis)) ?? d),
      );
      const open = sizes?.flatMap((d, i) => (typeof d === "number" ? [] : [i])) ?? [];
      if (!sizes || open.length > 1) {
        this.wrong(
          name,
          `the shape of ${typeText(type)} does not follow from ${data.length} elements`,
          "pass { dtype, shape, data }",
        );
        continue;
      }
      const rest = sizes.reduce<number>((n, d) => (typeof d === "number" ? n * d : n), 1);
      const [at] = open;
      if (at !== undefined) sizes[at] = rest === 0 ? 0 : data.length / rest;
      const shape = sizes as number[];
      if (!shape.every(Number.isInteger) || elementCount(shape) !== data.length)
        this.wrong(name, `expected ${typeText(type)}, got ${data.length} elements`);
      else this.shaped(name, type, { dtype: type.dtype as DType, shape, data });
    }
  }
}

const isStrings = (feed: ModelFeed): boolean => {
  const { dtype, data } = (feed ?? {}) as { readonly dtype?: unknown; readonly data?: unknown };
  return dtype === "string" || (Array.isArray(data) && typeof data[0] === "string");
};

export interface FlattenOptions {
  /** Inputs that options give a value to; they need no feed. */
  readonly fixed?: ReadonlySet<string>;
  /** Initializers that are inputs too. */
  readonly overridable?: readonly OnnxValueInfo[];
}

/**
 * Checks feeds against a model's inputs and flattens them.
 * @throws ModelError with all problems
 */
export function flattenFeeds(
  inputs: readonly OnnxValueInfo[],
  feeds: ModelFeeds,
  { fixed = new Set(), overridable = [] }: FlattenOptions = {},
): FlatFeeds {
  if (typeof feeds !== "object" || feeds === null || ArrayBuffer.isView(feeds) || Array.isArray(feeds))
    throw new ModelError({ where: "feeds", message: `expected an object of inputs by name, got ${describe(feeds)}` });
  const made = new Flattening();
  const given = (name: string): ModelFeed | undefined => (Object.hasOwn(feeds, name) ? feeds[name] : undefined);
  for (const { name, type } of inputs)
    if (!fixed.has(name) || given(name) !== undefined) made.add(name, type, given(name));
  for (const { name, type } of overridable) {
    if (given(name) === undefined) continue;
    made.overridden.push(name);
    made.add(name, type, given(name));
  }
  made.shapeBare();
  const known = new Set([...inputs, ...overridable].map((i) => i.name));
  for (const name of Object.keys(feeds)) {
    if (known.has(name)) continue;
    const names = inputs.map((i) => i.name).join(", ") || "none";
    made.problems.push({
      where: `input "${name}"`,
      message: "the model has no such input",
      hint: `its inputs are: ${names}`,
    });
  }
  if (made.problems.length > 0) throw new ModelError(made.problems);
  return made;
}
