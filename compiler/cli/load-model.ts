/** What the commands accept as a model: an ONNX file or graph text (or addresses of such), a JavaScript or TypeScript module. */

import { existsSync, statSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Plugin } from "esbuild";
import { ModelError } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { importOnnx } from "../onnx/import.js";
import type { Program } from "../program.js";
import { onDisk } from "./download.js";
import { checkImportFlags, type ImportFlags, importOptionsOf } from "./import-flags.js";

const isGraph = (value: unknown): value is Graph =>
  typeof value === "object" && value !== null && "params" in value && "results" in value;
const isProgram = (value: unknown): value is Program =>
  typeof value === "object" && value !== null && "entries" in value && "state" in value;

export interface LoadedModel {
  readonly program: Program;
  /** Stem of the file, the default name of the artefact. */
  readonly name: string;
  /** The file itself, where a folder was given. */
  readonly file: string;
  /** The module's other exports (`dataset`, `validation` for `train`). */
  readonly exports: Readonly<Record<string, unknown>>;
}

/**
 * @param flags what an ONNX file leaves open
 * @throws ModelError when the file is none of the forms
 */
export async function loadModel(
  given: string,
  flags: ImportFlags & { readonly seed?: number | undefined } = {},
): Promise<LoadedModel> {
  const path = inFolder(await onDisk(given));
  const extension = extname(path);
  const name = path.replace(/^.*[\\/]/, "").slice(0, -extension.length || undefined);
  const of = (graph: Graph): Program => ({ entries: { main: graph }, state: [] });
  checkImportFlags(path, extension, flags);
  switch (extension) {
    case ".graph":
      return { program: of(parseGraph(await readFile(path, "utf8"), path)), name, file: path, exports: {} };
    case ".js":
    case ".mjs":
    case ".ts":
    case ".mts": {
      const exports = (await ofUser(path, () => importModule(path, extension.endsWith("ts")))) as Record<
        string,
        unknown
      >;
      const given = exports.default;
      const value: unknown =
        given instanceof Function
          ? await ofUser(path, () => (given as (run: object) => unknown)({ seed: flags.seed ?? 0 }))
          : given;
      if (isProgram(value)) return { program: value, name, file: path, exports };
      if (isGraph(value)) return { program: of(value), name, file: path, exports };
      throw new ModelError({
        where: path,
        message: "its default export is neither a graph nor a program",
        hint: "export default trainStep(…) or a graph, or a function that returns one",
      });
    }
    case ".onnx": {
      const bytes = await readFile(path);
      const graph = importOnnx(bytes, { ...(await importOptionsOf(path, bytes, flags)), path, transfer: true });
      return { program: of(graph), name, file: path, exports: {} };
    }
    default:
      throw new ModelError({
        where: path,
        message: `files of type "${extension}" are not understood`,
        hint: "give an .onnx, .graph, .js, .mjs or .ts file",
      });
  }
}

/** A folder stands for its `train.ts`, or whatever it is compiled to. */
function inFolder(path: string): string {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return path;
  const found = ["train.ts", "train.mts", "train.js", "train.mjs"].map((n) => join(path, n)).find((f) => existsSync(f));
  if (found !== undefined) return found;
  throw new ModelError({ where: path, message: "a folder without train.ts or train.js", hint: "give the file itself" });
}

const ownErrors: ReadonlySet<unknown> = new Set(["ModelError", "VerifyError", "InternalError"]);

/** Runs the user's own code: what it throws is no bug of wasmith. @throws ModelError that says where it was thrown */
export async function ofUser<T>(where: string, run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof Error && ownErrors.has(cause.name)) throw cause;
    const thrown =
      cause instanceof Error ? (cause.stack ?? String(cause)).split("\n").slice(0, 4).join("\n") : String(cause);
    throw new ModelError({ where, message: `its code threw ${thrown}` }, { cause });
  }
}

/** Files that are bundled know where they were: data lie beside the module that reads them. @param filter paths of such files */
export const ownPlaces = (filter: RegExp): Plugin => ({
  name: "own-places",
  setup({ onLoad }) {
    onLoad({ filter }, async ({ path }) => ({
      contents: (await readFile(path, "utf8")).replaceAll("import.meta.url", JSON.stringify(pathToFileURL(path).href)),
      loader: extname(path).endsWith("ts") ? "ts" : "js",
    }));
  },
});

/** TypeScript goes through esbuild where it is installed: Node 20 does not read it. */
async function importModule(path: string, typescript: boolean): Promise<unknown> {
  const absolute = resolve(path);
  if (!typescript) return import(pathToFileURL(absolute).href);
  let esbuild: typeof import("esbuild");
  try {
    esbuild = await import("esbuild");
  } catch (cause) {
    throw new ModelError(
      {
        where: path,
        message: "reading TypeScript needs esbuild",
        hint: "npm i -D esbuild, or compile the file to JavaScript",
      },
      { cause },
    );
  }
  // Not beside the source: whatever ends this process, nothing is left there.
  const folder = await mkdtemp(join(tmpdir(), "wasmith-"));
  try {
    const outfile = join(folder, `${basename(path)}.mjs`);
    await esbuild.build({
      entryPoints: [absolute],
      outfile,
      bundle: true,
      format: "esm",
      platform: "node",
      logLevel: "silent",
      // What is thrown names lines of the sources.
      sourcemap: "inline",
      sourcesContent: false,
      plugins: [packagesInPlace, ownPlaces(/\.m?[jt]s$/)],
    });
    process.setSourceMapsEnabled(true);
    return await import(pathToFileURL(outfile).href);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Packages are not bundled, but imported from where the source would find them. Their sources in TypeScript (of a workspace) are bundled, since
 * Node does not read them.
 */
const packagesInPlace: Plugin = {
  name: "packages-in-place",
  setup({ onResolve, resolve: resolved }) {
    onResolve({ filter: /^[^./]/ }, async ({ path, kind, importer, resolveDir, pluginData }) => {
      if (pluginData === packagesInPlace || kind === "entry-point") return undefined;
      const found = await resolved(path, { kind, importer, resolveDir, pluginData: packagesInPlace });
      // Missing ones are errors where they are imported, which an optional one never is.
      if (found.errors.length > 0) return { path, external: true };
      if (found.external || /\.[cm]?tsx?$/.test(found.path)) return found;
      return { path: pathToFileURL(found.path).href, external: true };
    });
  },
};
