/** Inputs of a model as parameters of its graph, and the options that say what the file leaves open of them. */

import { type Dim, dimSymbol } from "../../ir/dim.js";
import { ModelError, type Need } from "../../ir/errors.js";
import { param, type Value } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import { host } from "./build.js";
import type { Bound } from "./context.js";
import type { OnnxDim, OnnxType, OnnxValueInfo, ReadModelOptions } from "./model.js";
import type { Deciders, SizeNeed } from "./needs.js";

/** Feeds that an import may ask. */
export interface FeedFacts {
  sizeOf(size: SizeNeed): number | undefined;
  /** Whether all that is needed can be fixed to what the feeds say. */
  canAnswer(needs: readonly Need[]): boolean;
  /** Sizes with which the import may go on, where the model is one program only for some (`range`): one, or a range. */
  narrow(size: SizeNeed, range: readonly [number, number]): number | readonly [number, number];
}

export interface ImportOptions extends ReadModelOptions {
  /** Fixes a named dimension, or bounds it (inclusive). */
  readonly dims?: Readonly<Record<string, number | readonly [number, number]>>;
  /** Shapes of inputs, over what the file says: sizes, names of dimensions, or null for a size of its own. */
  readonly shapes?: Readonly<Record<string, readonly OnnxDim[]>>;
  /**
   * Values of inputs that become constants of the program, such as target shapes and axes. These inputs disappear from the
   * signature.
   */
  readonly values?: Readonly<Record<string, Tensor>>;
  /**
   * What inputs that are sequences or optionals hold, since a program has a fixed signature: a sequence's length, or whether an
   * optional is there. The tensors become inputs of their own: `name.0`, `name.1` …, or `name`.
   */
  readonly structures?: Readonly<Record<string, number | boolean>>;
  /** What feeds say, of which only what the import depends on is fixed. */
  readonly feeds?: FeedFacts;
  /** Initializers that are listed as inputs too, and are to be inputs. */
  readonly overrides?: readonly string[];
  /**
   * Values of the main graph that are to be the outputs, by the names that the file gives them: activations, features. Default: the file's own
   * outputs.
   */
  readonly outputs?: readonly string[];
  /**
   * Upper bound of run-time sizes of which nothing else is known. Default: none, memory is the limit; but a loop that does not say
   * how many rounds it makes has room for 4096 of what it collects.
   */
  readonly maxUnknownSize?: number;
  /** Nodes after unrolling and inlining. Default 500,000. */
  readonly maxNodes?: number;
  /** Time that importing may take. Default 60. */
  readonly maxSeconds?: number;
}

/** Names that exporters give to the length of a key/value cache, which has no entries at first. */
export const STARTS_EMPTY = /past|cache|history/i;

/** What exporters write for a size that they know nothing of, which makes no two sizes equal. */
export const NO_NAME = /^([^\p{L}\p{N}]*|-1|None)$/u;

/** What the size of an input's axis is called: equal names mean equal sizes. */
export const sizeName = (dim: string | null, input: string, axis: number): string =>
  dim === null || NO_NAME.test(dim) ? `${input}_${axis}` : dim;

/** The name with what a dim symbol may not contain replaced. */
export const legalName = (name: string): string => name.replace(/[^A-Za-z0-9_.]/g, "_").replace(/^(?![A-Za-z_])/, "_");

/** Items of a sequence may differ in size: their dims' names say nothing. */
export const withoutNames = (type: OnnxType): OnnxType =>
  type.kind === "tensor" ? { ...type, shape: type.shape?.map((d) => (typeof d === "string" ? null : d)) } : type;

export class GraphInputs {
  private readonly options: ImportOptions;
  private readonly needs: Deciders;
  private readonly serial: () => number;
  private readonly symbols = new Map<string, Dim>();

  constructor(options: ImportOptions, needs: Deciders, serial: () => number) {
    this.options = options;
    this.needs = needs;
    this.serial = serial;
  }

  /**
   * What an input's name stands for; the parameters that it is made of join `params`.
   * @throws ModelError that says what has to be known of it
   */
  bind({ name, type }: OnnxValueInfo, params: Value[]): Bound {
    if (!type) throw new ModelError({ message: "the file states no type" });
    return this.inputOf(name, type, params);
  }

  private inputOf(name: string, type: OnnxType, params: Value[]): Bound {
    const { values, shapes, structures } = this.options;
    if (values && Object.hasOwn(values, name)) return host(values[name]!);
    const structure = structures && Object.hasOwn(structures, name) ? structures[name] : undefined;
    const ask = (what: "length" | "present", kind: string, example: string): ModelError =>
      new ModelError({
        message: `a program's inputs are tensors, but this is ${kind}`,
        hint: `say what it holds with the option structures: { ${JSON.stringify(name)}: ${example} }`,
        needs: [{ input: name, what }],
      });
    if (type.kind === "sequence") {
      if (typeof structure !== "number") throw ask("length", "a sequence", "its length");
      const items = Array.from({ length: structure }, (_, i) =>
        this.inputOf(`${name}.${i}`, withoutNames(type.element), params),
      );
      return { kind: "sequence", items };
    }
    if (type.kind === "optional") {
      if (structure === undefined) throw ask("present", "an optional", "true or false");
      return structure === false ? { kind: "absent" } : this.inputOf(name, type.element, params);
    }
    if (type.kind === "unsupported")
      throw new ModelError({ message: `inputs that are ${type.what} are not supported` });
    if (type.dtype === undefined) throw new ModelError({ message: "the file states no element type" });
    if (type.dtype === "string") throw new ModelError({ message: "inputs of strings are not supported" });
    const shape = (shapes && Object.hasOwn(shapes, name) ? shapes[name] : undefined) ?? type.shape;
    if (!shape)
      throw new ModelError({
        message: "the file does not say how many axes it has",
        hint: `pass the option shapes: { ${JSON.stringify(name)}: [ … ] }`,
        needs: [{ input: name, what: "rank" }],
      });
    const made = param(name, { dtype: type.dtype, shape: shape.map((dim, axis) => this.dim(dim, name, axis)) });
    this.needs.input(name, made);
    params.push(made);
    return made;
  }

  private dim(dim: OnnxDim, input: string, axis: number): Dim {
    if (typeof dim === "number") return dim;
    const name = sizeName(dim, input, axis);
    const known = this.symbols.get(name);
    if (known !== undefined) return known;
    const legal = legalName(name);
    let unique = legal;
    while ([...this.symbols.values()].some((d) => typeof d !== "number" && d.key === unique))
      unique = `${legal}_${this.serial()}`;
    const { dims } = this.options;
    const option =
      dims && (Object.hasOwn(dims, name) ? dims[name] : Object.hasOwn(dims, legal) ? dims[legal] : undefined);
    const made =
      typeof option === "number"
        ? option
        : dimSymbol(unique, option ? { min: option[0], max: option[1] } : { min: STARTS_EMPTY.test(name) ? 0 : 1 });
    this.symbols.set(name, made);
    if (typeof made !== "number") this.needs.size(made.key, { input, what: "size", axis, dim: name });
    return made;
  }
}
