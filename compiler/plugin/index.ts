/**
 * `wasmith/plugin`: `import load from "./model.onnx"` in vite, rollup, webpack, rspack and esbuild. The model is compiled while the application is
 * built, and its files are assets of it.
 */

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { namesAssets, placeAssets } from "./assets.js";
import { ModelBuilder } from "./build.js";
import { checkPluginOptions, modelRequest, type PluginOptions } from "./request.js";

export type { ModelOptions, PluginOptions } from "./request.js";

/** What is used of rollup's context. */
interface RollupContext {
  resolve(id: string, importer?: string, options?: { skipSelf?: boolean }): Promise<{ readonly id: string } | null>;
  addWatchFile(path: string): void;
  emitFile(file: { type: "asset"; name: string; source: Uint8Array }): string;
}

/** The part of rollup's plugins, which vite's are too, that is used. */
export interface RollupPlugin {
  name: string;
  resolveId(this: RollupContext, id: string, importer: string | undefined): Promise<string | undefined>;
  load(this: RollupContext, id: string): Promise<string | undefined>;
  transform?(this: RollupContext, code: string, id: string): Promise<{ code: string; map: null } | undefined>;
}

export interface VitePlugin extends RollupPlugin {
  enforce: "pre";
  config(): { optimizeDeps: { exclude: string[] }; worker: { format: "es" } };
  configResolved(config: { readonly root: string }): void;
}

/** Resolves and loads models. @param root of the application, when it is known */
function rollupHooks(options: PluginOptions, root: () => string): RollupPlugin {
  const builder = new ModelBuilder(options);
  return {
    name: "wasmith",
    async resolveId(id, importer) {
      const [path = "", query] = id.split("?", 2);
      // Without a query it is found as any file.
      if (query === undefined || !modelRequest(id)) return undefined;
      const found = await this.resolve(path, importer, { skipSelf: true });
      return found ? `${found.id}?${query}` : undefined;
    },
    async load(id) {
      const request = modelRequest(id);
      if (!request) return undefined;
      this.addWatchFile(request.path);
      const model = await builder.build(request, root());
      for (const path of model.watch) this.addWatchFile(path);
      const news = builder.news(model);
      if (news) console.info(news);
      return model.code;
    },
  };
}

/** For vite: builds and the server of development, which loads the page anew when a model changes. */
export function vite(options: PluginOptions = {}): VitePlugin {
  let root = process.cwd();
  return {
    ...rollupHooks(options, () => root),
    // Before vite takes models for files to be copied.
    enforce: "pre",
    // The runtime names files that lie beside it, and loads parts of itself on demand.
    config: () => ({ optimizeDeps: { exclude: ["wasmith"] }, worker: { format: "es" } }),
    configResolved(config) {
      root = config.root;
    },
  };
}

/** For rollup, with `@rollup/plugin-node-resolve`. It also takes along the files of glue that was compiled before. */
export function rollup(options: PluginOptions = {}): RollupPlugin {
  return {
    ...rollupHooks(options, () => process.cwd()),
    async transform(code, id) {
      if (!namesAssets(id, code)) return undefined;
      const files = new Map<string, Uint8Array>();
      placeAssets(id, code, (path) => {
        files.set(path, new Uint8Array());
        return "";
      });
      for (const path of files.keys()) files.set(path, await readFile(path));
      const placed = placeAssets(id, code, (path) => {
        const name = path.replace(/^.*[\\/]/, "");
        return `new URL(import.meta.ROLLUP_FILE_URL_${this.emitFile({ type: "asset", name, source: files.get(path)! })})`;
      });
      return { code: placed, map: null };
    },
  };
}

/** What is used of webpack's and rspack's compiler. */
interface PackCompiler {
  readonly options: { readonly module: { readonly rules: unknown[] } };
}

export interface PackPlugin {
  apply(compiler: PackCompiler): void;
}

/** For webpack 5. */
export function webpack(options: PluginOptions = {}): PackPlugin {
  checkPluginOptions(options);
  const loader = join(dirname(fileURLToPath(import.meta.url)), "loader.js");
  const use = [{ loader, options }];
  return {
    apply({ options: { module } }) {
      module.rules.push(
        { test: /\.(onnx|graph)$/, type: "javascript/auto", use },
        // Before the loaders that are there for code.
        { test: /\.m?[jt]s$/, resourceQuery: /[?&]wasmith\b/, type: "javascript/auto", enforce: "post", use },
      );
    },
  };
}

/** For rspack. */
export const rspack: typeof webpack = webpack;

/** What is used of esbuild's plugins. */
interface EsbuildSetup {
  readonly initialOptions: { readonly absWorkingDir?: string };
  onResolve(
    filter: { filter: RegExp; namespace?: string },
    resolve: (args: {
      readonly path: string;
      readonly resolveDir: string;
      readonly kind: string;
      readonly importer: string;
      readonly pluginData?: unknown;
    }) => Promise<EsbuildResolved | undefined>,
  ): void;
  onLoad(
    filter: { filter: RegExp; namespace?: string },
    load: (args: { readonly path: string }) => Promise<EsbuildLoaded | undefined>,
  ): void;
  resolve(
    path: string,
    options: { resolveDir: string; kind: string; importer: string; pluginData: unknown },
  ): Promise<{ readonly path: string; readonly errors: readonly unknown[] }>;
}
interface EsbuildResolved {
  path: string;
  namespace?: string;
  errors?: unknown[];
}
interface EsbuildLoaded {
  contents: string | Uint8Array;
  loader: "js" | "file";
  resolveDir?: string;
  watchFiles?: string[];
}

export interface EsbuildPlugin {
  name: string;
  setup(build: EsbuildSetup): void;
}

/**
 * For esbuild, which does not look for files by itself: it also takes along those of glue that was compiled before, and the runtime's worker.
 * The format is to be "esm"; with `splitting`, what the runtime loads on demand stays apart.
 */
export function esbuild(options: PluginOptions = {}): EsbuildPlugin {
  const builder = new ModelBuilder(options);
  return {
    name: "wasmith",
    setup(build) {
      // Marks what is to be resolved by others.
      const asIs = {};
      const root = build.initialOptions.absWorkingDir ?? process.cwd();
      build.onResolve({ filter: /\.(onnx|graph)$|\?/ }, async ({ path, resolveDir, kind, importer, pluginData }) => {
        if (pluginData === asIs || !modelRequest(path)) return undefined;
        const [file = "", query] = path.split("?", 2);
        const found = await build.resolve(file, { resolveDir, kind, importer, pluginData: asIs });
        if (found.errors.length > 0) return { path: "", errors: [...found.errors] };
        return { path: query === undefined ? found.path : `${found.path}?${query}`, namespace: "wasmith" };
      });
      build.onLoad({ filter: /./, namespace: "wasmith" }, async ({ path }) => {
        const request = modelRequest(path);
        if (!request) return undefined;
        const model = await builder.build(request, root);
        const news = builder.news(model);
        if (news) console.info(news);
        return { contents: model.code, loader: "js", resolveDir: dirname(request.path), watchFiles: [...model.watch] };
      });
      build.onLoad({ filter: /\.js$/ }, async ({ path }) => {
        // Of packages, only the runtime and what was compiled here.
        if (/[\\/]node_modules[\\/](?!wasmith[\\/]dist[\\/]|\.cache[\\/]wasmith[\\/])/.test(path)) return undefined;
        const code = await readFile(path, "utf8");
        if (!namesAssets(path, code)) return undefined;
        const imports: string[] = [];
        const placed = placeAssets(path, code, (file) => {
          const name = `file${imports.length}`;
          imports.push(`import ${name} from ${JSON.stringify(`wasmith-file:${file}`)};\n`);
          return `new URL(${name}, import.meta.url)`;
        });
        return { contents: imports.join("") + placed, loader: "js", resolveDir: dirname(path) };
      });
      build.onResolve({ filter: /^wasmith-file:/ }, async ({ path }) => ({
        path: path.slice("wasmith-file:".length),
        namespace: "wasmith-file",
      }));
      build.onLoad({ filter: /./, namespace: "wasmith-file" }, async ({ path }) => ({
        contents: await readFile(path),
        loader: "file",
      }));
    },
  };
}

export default { vite, rollup, webpack, rspack, esbuild };
