/**
 * Builds what is published into dist/:
 *
 * - runtime.js, worker.js, and onnx.js, files.js, fit.js, profile.js, input.js, report.js, svg.js, store.js, wide.js, pool.js, warm-up.js, encryption.js, data-url.js, loading.js, float16.js and explain.js (loaded on demand): load and run artefacts, in Node and browsers as they are. No compiler, no dependency, no Node
 *   builtin that is imported before it is known to run in Node. Together at most `runtimeLimit` minified and gzipped.
 * - wasmith.js, cli.js and the chunks that they share: the compiler, without any package; in a page, `compile` and `importOnnx` take at most
 *   `compilerLimit` minified and gzipped. cli-packages.js: the small packages of the command line.
 * - plugin.js and loader.js: wasmith/plugin and wasmith/loader, which compile models for bundlers.
 * - data.js and the chunks that it loads when they are needed (decoders, readers): wasmith/data. Its packages are bundled too.
 * - callbacks.js: wasmith/callbacks, what watches training; fetch.js: wasmith/fetch, what keeps downloads.
 * - ort.js: wasmith/ort, with the runtime beside it; ort-compiler.js and ort-worker.js share the compiler's chunk, and are loaded where a
 *   model is to be compiled.
 * - THIRD-PARTY-NOTICES.txt: names and licences of the packages whose code is in these files.
 * - types/: declarations.
 *
 * And packages/runtime/dist/, the package wasmith-runtime.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";
import { buildCommandLinePackages, fromCommandLinePackages } from "./command-line-packages.mjs";
import { buildRuntimePackage } from "./runtime-package.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const runtimeLimit = 15 * 1024;
const compilerLimit = 350 * 1024;

/** @type {import("esbuild").BuildOptions} */
const common = {
  absWorkingDir: root,
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  outdir: "dist",
  logLevel: "warning",
  legalComments: "none",
  metafile: true,
};

/**
 * What is imported, but for files beside it, is only there in Node: webpack, vite (whose comments minifiers drop) and others must not look
 * for it. esbuild knows no comment, and what `String("node:fs")` is; of `join` it thinks nothing.
 */
const withMarkedImports = (code) =>
  code.replace(
    /(?<![.#\w])import\((?!"\.\/)([^()"]+|"[^".][^"]*")\)(?! *\{)/g,
    "import(/*webpackIgnore:true*//*@vite-ignore*/[$1].join())",
  );

/** Reports hold the chart library as text. In the sources it is read from node_modules, which what is published does not have. */
const chartsAsText = {
  name: "charts-as-text",
  setup(build) {
    build.onLoad({ filter: /runtime[/\\]chart\.ts$/ }, () => {
      const folder = join(root, "node_modules/uplot");
      const read = (path) => JSON.stringify(readFileSync(join(folder, path), "utf8"));
      const [script, style] = [read("dist/uPlot.iife.min.js"), read("dist/uPlot.min.css")];
      const contents = `export const chartLibrary = async () => ({ script: ${script}, style: ${style}, license: ${read("LICENSE")} });`;
      return { contents, loader: "js", watchFiles: [] };
    });
  },
};

async function buildRuntime() {
  // Modules of their own, which are loaded by those who export, write files, train, or did something wrong.
  const onDemand = [
    "onnx",
    "files",
    "fit",
    "profile",
    "input",
    "report",
    "svg",
    "store",
    "wide",
    "pool",
    "warm-up",
    "encryption",
    "data-url",
    "loading",
    "float16",
    "explain",
  ];
  const entries = { runtime: "runtime/index.ts", worker: "runtime/worker.ts" };
  const result = await build({
    ...common,
    entryPoints: { ...entries, ...Object.fromEntries(onDemand.map((name) => [name, `runtime/${name}.ts`])) },
    external: onDemand.map((name) => `./${name}.js`),
    plugins: [chartsAsText],
  });
  for (const path of Object.keys(result.metafile.outputs)) {
    // terser, since it makes 4 % less of it than esbuild. Short lines, since Node shows the line that threw an uncaught error.
    const { code } = await minify(readFileSync(`${root}/${path}`, "utf8"), {
      module: true,
      ecma: 2020,
      compress: { passes: 3 },
      format: { max_line_len: 300 },
    });
    writeFileSync(`${root}/${path}`, withMarkedImports(code));
  }
  // What is copied beside artefacts for pages without a bundler. Who finds runtime.js finds the others.
  const names = ["worker", ...onDemand, "runtime"].map((name) => `${name}.js`);
  writeFileSync(`${root}/dist/runtime-files.json`, `${JSON.stringify(names)}\n`);
  return result;
}

async function buildCompiler() {
  const all = {
    wasmith: "index.ts",
    cli: "compiler/cli/main.ts",
    "ort-compiler": "ort/ort-compiler.ts",
    "ort-worker": "ort/ort-worker.ts",
    plugin: "compiler/plugin/index.ts",
    loader: "compiler/plugin/loader.ts",
    dsl: "compiler/dsl/index.ts",
  };
  const entries = Object.entries(all).filter(([name, file]) => {
    if (existsSync(`${root}/${file}`)) return true;
    console.log(`dist/${name}.js is left out: there is no ${file} yet`);
    return false;
  });
  if (entries.length === 0) return undefined;
  const result = await build({
    ...common,
    entryPoints: Object.fromEntries(entries),
    splitting: true,
    chunkNames: "compiler-[hash]",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["import", "default"],
    external: ["node:*", "cli-progress", "esbuild"],
    plugins: [fromCommandLinePackages],
  });
  // It is an entry only so that the DSL has a chunk of its own, which bundlers leave out where models are imported: within a file they keep
  // whatever might have effects.
  rmSync(`${root}/dist/dsl.js`);
  delete result.metafile.outputs["dist/dsl.js"];
  for (const path of Object.keys(result.metafile.outputs))
    writeFileSync(`${root}/${path}`, withMarkedImports(readFileSync(`${root}/${path}`, "utf8")));
  return result;
}

/** Bytes that a page loads to import and compile a model, minified and gzipped. */
async function compilerInPage() {
  const { outputFiles, metafile } = await build({
    ...common,
    stdin: { contents: `export { compile, importOnnx } from "./dist/wasmith.js";`, resolveDir: root },
    platform: "browser",
    minify: true,
    splitting: true,
    write: false,
    // Chunks of dist/ that import nothing for its effects.
    logOverride: { "ignored-bare-import": "silent" },
  });
  const { outputs } = metafile;
  const atOnce = new Set(Object.keys(outputs).filter((path) => outputs[path].entryPoint === "<stdin>"));
  for (const path of atOnce)
    for (const { kind, path: to } of outputs[path].imports) if (kind === "import-statement") atOnce.add(to);
  const loaded = outputFiles.filter((f) => [...atOnce].some((path) => f.path.endsWith(path)));
  return loaded.reduce((bytes, f) => bytes + gzipSync(f.contents, { level: 9 }).length, 0);
}

/** Papa Parse asks for a builtin of Node, for streams that are not used here; bundlers for browsers would look for it. */
const withoutStreams = {
  name: "without-streams",
  /** @param {import("esbuild").PluginBuild} build */
  setup(build) {
    build.onResolve({ filter: /^stream$/ }, () => ({ path: "stream", namespace: "nothing" }));
    build.onLoad({ filter: /.*/, namespace: "nothing" }, () => ({ contents: "" }));
  },
};

/** Ready callbacks of `fit`, and ways to fetch, each in one piece. */
async function buildCallbacks() {
  const result = await build({
    ...common,
    entryPoints: { callbacks: "runtime/callbacks/index.ts", fetch: "runtime/fetch.ts" },
    platform: "neutral",
    external: ["node:*"],
  });
  for (const path of Object.keys(result.metafile.outputs))
    writeFileSync(`${root}/${path}`, withMarkedImports(readFileSync(`${root}/${path}`, "utf8")));
  return result;
}

/** What is a file of its own here, beside which workers lie. */
const runtimeBeside = {
  name: "runtime-beside",
  /** @param {import("esbuild").PluginBuild} build */
  setup(build) {
    build.onResolve({ filter: /^\.\.\/runtime\/(index|files)\.js$/ }, ({ path }) => ({
      path: path.endsWith("files.js") ? "./files.js" : "./runtime.js",
      external: true,
    }));
    build.onResolve({ filter: /^\.\/ort-compiler\.js$/ }, ({ path }) => ({ path, external: true }));
  },
};

/** @param compiler what the compiler was built to, by which artefacts of other builds are told apart */
async function buildOrt({ metafile }) {
  const hash = createHash("sha256");
  for (const path of Object.keys(metafile.outputs).sort()) hash.update(readFileSync(`${root}/${path}`));
  const result = await build({
    ...common,
    entryPoints: { ort: "ort/index.ts" },
    splitting: true,
    chunkNames: "ort-[name]-[hash]",
    platform: "neutral",
    external: ["node:*"],
    plugins: [runtimeBeside],
    define: { WASMITH_BUILD: JSON.stringify(hash.digest("hex").slice(0, 16)) },
  });
  for (const path of Object.keys(result.metafile.outputs))
    writeFileSync(`${root}/${path}`, withMarkedImports(readFileSync(`${root}/${path}`, "utf8")));
  return result;
}

/** In one piece with what it loads at once; decoders in chunks of their own. */
async function buildData() {
  const result = await build({
    ...common,
    entryPoints: { data: "runtime/data/index.ts" },
    splitting: true,
    chunkNames: "data-[name]-[hash]",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["import", "default"],
    external: ["node:*"],
    plugins: [withoutStreams],
  });
  for (const path of Object.keys(result.metafile.outputs))
    writeFileSync(`${root}/${path}`, withMarkedImports(readFileSync(`${root}/${path}`, "utf8")));
  return result;
}

function finishCommandLine() {
  const path = `${root}/dist/cli.js`;
  if (!existsSync(path)) return;
  const text = readFileSync(path, "utf8");
  if (!text.startsWith("#!")) writeFileSync(path, `#!/usr/bin/env node\n${text}`);
  chmodSync(path, 0o755);
}

function declare() {
  const tsc = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
  execFileSync(process.execPath, [tsc, "--project", "scripts/tsconfig.types.json"], { cwd: root, stdio: "inherit" });
  copyFileSync(`${root}/compiler/plugin/client.d.ts`, `${root}/dist/types/client.d.ts`);
}

/** Writes the licences of the packages that the bundles hold. Fails where one states none. */
function notice(metafiles) {
  // Its text is in report.js.
  const folders = new Set(["node_modules/uplot"]);
  for (const file of metafiles.flatMap((m) => Object.keys(m.inputs))) {
    const match = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file);
    if (match) folders.add(match[0]);
  }
  const notices = [...folders].map((folder) => {
    const path = join(root, folder);
    const { name, version, license } = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
    const file = readdirSync(path).find((f) => /^(licen[cs]e|copying)(\.\w+)?$/i.test(f));
    if (!file) throw new Error(`${name} is bundled, but has no file with its licence`);
    const text = readFileSync(join(path, file), "utf8").trim();
    return { name, text: `${name} ${version} (${license})\n\n${text}\n` };
  });
  notices.sort((a, b) => (a.name < b.name ? -1 : 1));
  const head = "The files of this folder hold code of these packages:\n";
  writeFileSync(
    `${root}/dist/THIRD-PARTY-NOTICES.txt`,
    [head, ...notices.map((n) => n.text)].join(`\n${"-".repeat(80)}\n\n`),
  );
}

/** Prints sizes; @returns whether the runtime and the compiler are within their limits. */
function report(outputs, inPage) {
  let runtime = 0;
  for (const path of Object.keys(outputs).sort()) {
    const content = readFileSync(`${root}/${path}`);
    const gzip = gzipSync(content, { level: 9 }).length;
    if (path === "dist/runtime.js" || path === "dist/worker.js") runtime += gzip;
    console.log(`${path.padEnd(28)} ${String(content.length).padStart(9)} bytes ${String(gzip).padStart(9)} gzipped`);
  }
  return [
    within("runtime and worker", runtime, runtimeLimit),
    within("the compiler in a page", inPage, compilerLimit),
  ].every((fits) => fits);
}

function within(what, bytes, limit) {
  const fits = bytes <= limit;
  console.log(`${what}, minified and gzipped: ${bytes} bytes, ${fits ? "within" : "ABOVE"} the limit of ${limit}`);
  return fits;
}

rmSync(`${root}/dist`, { recursive: true, force: true });
const compiler = buildCompiler();
const results = await Promise.all([
  buildRuntime(),
  compiler,
  buildCommandLinePackages(common, root),
  buildData(),
  buildCallbacks(),
  compiler.then(buildOrt),
]);
finishCommandLine();
notice(results.flatMap((r) => r?.metafile ?? []));
declare();
buildRuntimePackage(root);
const outputs = Object.assign({}, ...results.map((r) => r?.metafile.outputs));
if (!report(outputs, await compilerInPage())) process.exitCode = 1;
