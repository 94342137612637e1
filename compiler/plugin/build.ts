/** Models of an application → compiled artefacts in a cache, and types beside the models. */

import { readFile } from "node:fs/promises";
import { basename, dirname, extname, join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { ModelError } from "../../ir/errors.js";
import { contentHash } from "../../runtime/encode.js";
import { bytes } from "../cli/format.js";
import type { Artifact } from "../compile.js";
import type { ExternalData } from "../onnx/external-data.js";
import type { Program } from "../program.js";
import { version } from "../version.js";
import { fileNameOf, writeWhole } from "../write.js";
import {
  type BuiltModel,
  cacheFolderOf,
  hashOf,
  prune,
  readBeside,
  readBuilt,
  writeBeside,
  writeBuilt,
} from "./cache.js";
import { checkPluginOptions, type ModelOptions, type ModelRequest, optionsFor, type PluginOptions } from "./request.js";

const encoder = new TextEncoder();
const defaultCacheBytes = 2 ** 31;

/** A model, ready to be bundled. */
export interface BundledModel {
  /** Its glue: a module whose `load` loads it, beside the files that it names. */
  readonly glue: string;
  /** What stands for the model in the bundle. */
  readonly code: string;
  /** Files whose change changes it. */
  readonly watch: readonly string[];
  /** Sizes, in words. */
  readonly report: string;
}

/** Compiles models of one build. */
export class ModelBuilder {
  readonly #options: PluginOptions;
  readonly #used = new Set<string>();
  /** What was already told. */
  readonly #told = new Set<string>();

  /** @throws ModelError where an option is unknown or not what it is to be */
  constructor(options: PluginOptions) {
    checkPluginOptions(options);
    this.#options = options;
  }

  /**
   * @param root folder of the application
   * @throws ModelError that names the nodes which can't be compiled
   */
  async build(request: ModelRequest, root: string): Promise<BundledModel> {
    const { path } = request;
    const cache = this.#options.cacheFolder ?? cacheFolderOf(root);
    const built = await compiled(request, optionsFor(path, this.#options), cache);
    this.#used.add(basename(built.folder));
    await prune(cache, this.#options.maxCacheBytes ?? defaultCacheBytes, this.#used);
    const glue = join(built.folder, `${built.name}.js`);
    if (this.#options.types ?? true) await writeTypes(request, built);
    return {
      glue,
      // Relative, since Turbopack takes absolute paths for those of a server.
      code: `export { load, load as default } from ${JSON.stringify(specifier(dirname(path), glue))};\n`,
      watch: [path, ...built.beside.map((name) => join(dirname(path), name))],
      report: `${basename(path)}: ${built.report}`,
    };
  }

  /** The report of a model that was not told yet, if reports are wanted. */
  news({ report }: BundledModel): string | undefined {
    if (this.#told.has(report) || !(this.#options.report ?? true)) return undefined;
    this.#told.add(report);
    return report;
  }
}

function specifier(folder: string, file: string): string {
  const path = relative(folder, file).replaceAll("\\", "/");
  return /^(\.\.?\/|[A-Za-z]:)/.test(path) ? path : `./${path}`;
}

async function compiled(request: ModelRequest, options: ModelOptions, cache: string): Promise<BuiltModel> {
  const { path, train } = request;
  const source = await readFile(path);
  const name = fileNameOf(basename(path, extname(path)));
  // What is in the cache needs no compiler.
  const made = async (program: Program): Promise<Artifact> =>
    (await import("../compile.js")).compile(program, { ...options.compile, name });
  // What code decides is asked anew: nobody knows what it reads.
  if (train || /s$/.test(extname(path))) {
    const artifact = await made(await programOf(request, options));
    const key = hashOf(version, await contentHash(artifact.manifest));
    return (await readBuilt(cache, key)) ?? store(cache, key, artifact, []);
  }
  const first = hashOf(version, name, JSON.stringify([options.compile, options.dims]), source);
  const keyWith = async (beside: readonly string[]): Promise<string> =>
    hashOf(first, ...(await Promise.all(beside.map((file) => readFile(join(dirname(path), file))))));
  const known = await readBeside(cache, first);
  const found =
    known &&
    (await keyWith(known)
      .then((key) => readBuilt(cache, key))
      .catch(() => undefined));
  if (found) return found;
  const beside = new Set<string>();
  const artifact = await made(await programOf(request, options, beside));
  await writeBeside(cache, first, [...beside]);
  return store(cache, await keyWith([...beside]), artifact, [...beside]);
}

/** @param beside is told the files of external data */
async function programOf(
  { path, train }: ModelRequest,
  options: ModelOptions,
  beside = new Set<string>(),
): Promise<Program> {
  if (extname(path) !== ".onnx") {
    const { loadModel } = await import("../cli/load-model.js");
    const { program } = await loadModel(path);
    return train ? trained(path, options, program) : program;
  }
  const { importOnnx } = await import("../onnx/import.js");
  const { readExternalDataBeside } = await import("../onnx/external-data-node.js");
  const read = readExternalDataBeside(path);
  const externalData: ExternalData = (reference) => {
    beside.add(reference.location);
    return read(reference);
  };
  const graph = importOnnx(await readFile(path), { dims: options.dims ?? {}, path, externalData, transfer: true });
  const program: Program = { entries: { main: graph }, state: [] };
  return train ? trained(path, options, program) : program;
}

async function trained(path: string, { train }: ModelOptions, { entries }: Program): Promise<Program> {
  const { main } = entries;
  if (train && main) return train(main, path);
  throw new ModelError({
    where: `${path}?train`,
    message: train ? "it is a program already" : "how it is to be trained is not said",
    hint: train
      ? "import it without ?train"
      : "give the plugin the option train: (graph) => trainStep(graph, { targets, loss, optimizer })",
  });
}

async function store(cache: string, key: string, artifact: Artifact, beside: readonly string[]): Promise<BuiltModel> {
  const { name, variants, weights } = artifact.manifest;
  const modules = variants.map(({ id }) => artifact.wasm[id]!);
  const packed = modules.map((wasm) => gzipSync(wasm).length);
  const each = variants.map(({ id }, i) => `${id} ${bytes(modules[i]!.length)} (${bytes(packed[i]!)} gzipped)`);
  const report = [...each, `weights ${bytes(weights.bytes)}`].join(", ");
  return writeBuilt(cache, key, { name, report, beside }, (folder) => artifact.write(folder));
}

/** `model.d.onnx.ts` beside `model.onnx`. Of requests with queries, TypeScript looks for no file. */
async function writeTypes({ path, train }: ModelRequest, { folder, name }: BuiltModel): Promise<void> {
  const extension = extname(path);
  if (train || /s$/.test(extension)) return;
  const declarations = await readFile(join(folder, `${name}.d.ts`), "utf8");
  const text = encoder.encode(`${declarations}export default load;\n`);
  const target = join(dirname(path), `${basename(path, extension)}.d${extension}.ts`);
  const there = await readFile(target).catch(() => undefined);
  if (!there?.equals(text)) await writeWhole(target, text);
}
