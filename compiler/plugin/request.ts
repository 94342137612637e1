/** Which imports of an application are models. */

import type { Graph } from "../../ir/graph.js";
import type { CompileOptions } from "../compile.js";
import { aBoolean, aFunction, anObject, aString, atLeast, type Checks, checkOptions } from "../options.js";
import type { Program } from "../program.js";

/** How one model is compiled. */
export interface ModelOptions {
  /** Options of `compile`. */
  readonly compile?: Omit<CompileOptions, "name" | "onEntry" | "onPass" | "onStage" | "onWarning">;
  /** Sizes or ranges [low, high] of an ONNX file's named dims. */
  readonly dims?: Readonly<Record<string, number | readonly [number, number]>>;
  /** What `model.onnx?train` is: the training program of the imported graph, as `trainStep(graph, …)` makes it. */
  readonly train?: (graph: Graph, path: string) => Program | Promise<Program>;
}

export interface PluginOptions extends ModelOptions {
  /** Options of single models, by the ends of their paths (`"models/detector.onnx"`); they replace those for all. */
  readonly models?: Readonly<Record<string, ModelOptions>>;
  /** Writes `model.d.onnx.ts` beside each `model.onnx`, for TypeScript's `allowArbitraryExtensions`. Default true. */
  readonly types?: boolean;
  /** Tells sizes of what was compiled. Default true. */
  readonly report?: boolean;
  /** Where compiled models are kept. Default: `node_modules/.cache/wasmith` of the package that is built. */
  readonly cacheFolder?: string;
  /** Bytes that the folder may hold; models that were not used for the longest time go first. Default 2 GiB. */
  readonly maxCacheBytes?: number;
}

const pluginChecks: Checks<PluginOptions> = {
  compile: anObject,
  dims: anObject,
  train: aFunction,
  models: anObject,
  types: aBoolean,
  report: aBoolean,
  cacheFolder: aString,
  maxCacheBytes: atLeast(0),
};

/** @throws ModelError where an option is unknown or not what it is to be */
export function checkPluginOptions(options: PluginOptions): void {
  checkOptions("the plugin", options, pluginChecks);
}

export interface ModelRequest {
  /** Of the file. */
  readonly path: string;
  /** `?train` was asked for. */
  readonly train: boolean;
}

/**
 * The model that an import asks for: `.onnx` and `.graph` files, these with `?train`, and modules of code with `?wasmith`. Other queries
 * (`?url`, `?raw`) are the bundler's.
 */
export function modelRequest(id: string): ModelRequest | undefined {
  const [path = "", query = ""] = id.split("?", 2);
  // Servers of bundlers add marks of their own.
  const asked = query.split("&").filter((q) => q !== "" && !/^(import|t=\d+|v=\w+)$/.test(q));
  if (asked.some((q) => q !== "train" && q !== "wasmith")) return undefined;
  const isData = /\.(onnx|graph)$/.test(path);
  const isCode = /\.m?[jt]s$/.test(path) && asked.includes("wasmith");
  return isData || isCode ? { path, train: asked.includes("train") } : undefined;
}

/** The options that hold for a model. */
export function optionsFor(path: string, { models = {}, ...all }: PluginOptions): ModelOptions {
  const place = path.replaceAll("\\", "/");
  const own = Object.entries(models).find(([end]) => place === end || place.endsWith(`/${end}`))?.[1];
  return { ...all, ...own };
}
