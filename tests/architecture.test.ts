/**
 * The arrows of docs/ARCHITECTURE: models → compiler → passes → ir, ort → compiler and runtime, and compiler → runtime's artefact format. Also: who may
 * use which package, that the environment is read in one place, and that ir/ and passes/ are typed throughout.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const folders = ["ir", "passes", "compiler", "runtime", "ort", "models"] as const;
type Folder = (typeof folders)[number];

/** The artefact format, how its files are written, and how modules are imported that are in Node only, as the compiler may use them. */
const format = [
  "format",
  "encode",
  "container",
  "stream",
  "safetensors",
  "files",
  "encryption",
  "platform",
  "tensor",
].map((name) => `runtime/${name}.ts`);

/** Paths (or their beginnings) that files of a folder may import. */
const arrows: Readonly<Record<Folder, readonly string[]>> = {
  ir: ["ir/"],
  passes: ["passes/", "ir/"],
  compiler: ["compiler/", "passes/", "ir/", ...format],
  runtime: ["runtime/"],
  ort: ["ort/", "compiler/", "ir/", "runtime/"],
  models: ["models/", "compiler/", "passes/", "ir/"],
};

/** The command line is a user of both halves: it runs what it compiles. */
const exceptions: Readonly<Record<string, readonly string[]>> = {
  "compiler/cli/": [
    "runtime/index.ts",
    "runtime/history.ts",
    "runtime/convert.ts",
    "runtime/data/read/arrays.ts",
    "runtime/data/read/image.ts",
  ],
};

const mayImport = ({ file, folder }: Source, target: string): boolean =>
  arrows[folder].some((path) => target.startsWith(path)) ||
  Object.entries(exceptions).some(([from, to]) => file.startsWith(from) && to.includes(target));

/** Packages, and where they may be imported. */
const packages: Readonly<Record<string, readonly string[]>> = {
  // Models are written as users write theirs.
  wasmith: ["models/", "compiler/plugin/client.d.ts"],
  binaryen: ["compiler/wasm/"],
  commander: ["compiler/cli/"],
  "cli-progress": ["compiler/cli/"],
  picocolors: ["compiler/cli/"],
  esbuild: ["compiler/cli/"],
  papaparse: ["runtime/data/read/"],
  "fast-png": ["runtime/data/read/", "compiler/cli/picture.ts", "models/pictures.ts"],
  "jpeg-js": ["runtime/data/read/"],
  "@huggingface/tokenizers": ["runtime/data/text/"],
};

/** What runs in Node alone. */
const nodeFolders: readonly string[] = ["compiler/cli/", "compiler/plugin/"];
const isOfNode = (file: string): boolean => nodeFolders.some((folder) => file.startsWith(folder));

interface Source {
  readonly file: string;
  readonly folder: Folder;
  /** Without comments. */
  readonly code: string;
}

const sources: readonly Source[] = folders
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => {
        const file = `${folder}/${name}`;
        return { file, folder, code: withoutComments(readFileSync(join(root, file), "utf8")) };
      }),
  );

/** Keeps strings, so that what looks like a comment in one stays. */
function withoutComments(text: string): string {
  return text.replace(
    /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (_, string) => string ?? "",
  );
}

function importsOf({ code }: Source): string[] {
  const pattern =
    /^\s*(?:import|export)\s+(?:[\w*{}\s,$]+\sfrom\s+)?["']([^"'\n]+)["']|\bimport\s*\(\s*["']([^"'\n]+)["']/gm;
  return Array.from(code.replace(/`(?:\\.|[^`\\])*`/g, "``").matchAll(pattern), (m) => m[1] ?? m[2]!);
}

const packageOf = (specifier: string): string => (specifier in packages ? specifier : specifier.split("/")[0]!);

it("has sources in the folders that are fixed", () => {
  expect(sources.length).toBeGreaterThan(20);
});

const isDynamic = ({ code }: Source, specifier: string): boolean =>
  code.includes(`import("${specifier}")`) && !code.includes(`from "${specifier}"`);

/** Whether a file imports values of Node's builtins as such: it can't be loaded elsewhere. */
const needsNode = (file: string): boolean =>
  /^\s*import\s+(?!type\b)[^;"]*"node:/m.test(sources.find((s) => s.file === file)!.code);

it("imports only along the arrows", () => {
  const wrong: string[] = [];
  for (const source of sources) {
    for (const specifier of importsOf(source)) {
      if (!specifier.startsWith(".")) continue;
      const target = relative(root, join(root, dirname(source.file), specifier)).replace(/\.js$/, ".ts");
      if (!existsSync(join(root, target))) wrong.push(`${source.file} imports ${specifier}, which does not exist`);
      else if (
        target.endsWith("-node.ts") &&
        needsNode(target) &&
        !isOfNode(source.file) &&
        !isDynamic(source, specifier)
      ) {
        wrong.push(`${source.file} imports ${target} statically`);
      } else if (!mayImport(source, target)) wrong.push(`${source.file} imports ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

it("uses each package only where it belongs", () => {
  const wrong: string[] = [];
  for (const source of sources) {
    for (const specifier of importsOf(source)) {
      if (specifier.startsWith(".")) continue;
      // Types of Node's builtins vanish; its values are for the command line and for files
      // named so, which others import dynamically behind a check of the platform.
      if (specifier.startsWith("node:")) {
        const value = new RegExp(`^\\s*import\\s+(?!type\\b)[^;"]*"${specifier}"`, "m").test(source.code);
        if (value && !isOfNode(source.file) && !source.file.endsWith("-node.ts"))
          wrong.push(`${source.file} imports ${specifier}`);
      } else if (!packages[packageOf(specifier)]?.some((path) => source.file.startsWith(path))) {
        wrong.push(`${source.file} imports ${specifier}`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

it("reads environment variables in one file", () => {
  const readers = sources.filter((s) => /\bprocess\.env\b/.test(s.code)).map((s) => s.file);
  expect(readers.length, readers.join(", ")).toBeLessThanOrEqual(1);
});

it("has no `any` in ir/ and passes/, and no leave for one", () => {
  const typed = sources.filter((s) => s.folder === "ir" || s.folder === "passes");
  const biome = join(root, "node_modules/.bin/biome");
  const { status, stdout } = spawnSync(biome, ["lint", "--only=suspicious/noExplicitAny", "ir", "passes"], {
    cwd: root,
    encoding: "utf8",
  });
  expect(status, stdout).toBe(0);
  const leaves = typed.filter((s) => readFileSync(join(root, s.file), "utf8").includes("noExplicitAny"));
  expect(leaves.map((s) => s.file)).toEqual([]);
});

/** Paths of the files that a source imports; without those that it only takes types from, unless `types`. */
function targetsOf(source: Source, types: boolean): string[] {
  const code = types ? source.code : source.code.replace(/^\s*import type\s[^;]*;/gm, "");
  return importsOf({ ...source, code })
    .filter((s) => s.startsWith("."))
    .map((s) => relative(root, join(root, dirname(source.file), s)).replace(/\.js$/, ".ts"));
}

/** One circle of a graph, if there is any. */
function circleIn(graph: ReadonlyMap<string, Iterable<string>>): readonly string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (at: string): readonly string[] | undefined => {
    if (path.includes(at)) return [...path.slice(path.indexOf(at)), at];
    if (done.has(at)) return undefined;
    path.push(at);
    for (const to of graph.get(at) ?? []) {
      const circle = visit(to);
      if (circle) return circle;
    }
    path.pop();
    done.add(at);
    return undefined;
  };
  for (const at of graph.keys()) {
    const circle = visit(at);
    if (circle) return circle;
  }
  return undefined;
}

it("has no files whose values need one another in a circle", () => {
  // Gradients of one family's ops are made of other families' ops: the families are one definition in several files.
  const one = (file: string) => (file.startsWith("ir/ops/") ? "ir/ops" : file);
  const graph = new Map<string, Set<string>>();
  for (const source of sources) {
    const from = one(source.file);
    const to = graph.get(from) ?? new Set<string>();
    for (const target of targetsOf(source, false)) if (one(target) !== from) to.add(one(target));
    graph.set(from, to);
  }
  // The families take their tools from ir/, whose evaluators and builders take the families.
  graph.delete("ir/ops");
  expect(circleIn(graph)).toBeUndefined();
});

it("has folders side by side whose imports go one way only", () => {
  const parents = new Set(sources.map((s) => dirname(dirname(s.file))));
  for (const parent of parents) {
    const roomOf = (file: string) => {
      const rest = parent === "." ? file : file.startsWith(`${parent}/`) ? file.slice(parent.length + 1) : "";
      return rest.includes("/") ? rest.slice(0, rest.indexOf("/")) : undefined;
    };
    const graph = new Map<string, Set<string>>();
    for (const source of sources) {
      const from = roomOf(source.file);
      if (from === undefined) continue;
      const to = graph.get(from) ?? new Set<string>();
      for (const room of targetsOf(source, true).map(roomOf)) if (room !== undefined && room !== from) to.add(room);
      graph.set(from, to);
    }
    expect(circleIn(graph), `in ${parent}`).toBeUndefined();
  }
});

it("has rooms of lowering that know nothing of what drives them", () => {
  const up = sources
    .filter((s) => /^compiler\/lower\/[^/]+\//.test(s.file))
    .flatMap((s) => targetsOf(s, true).map((t) => [s.file, t] as const))
    .filter(([, target]) => /^compiler\/lower\/[^/]+\.ts$/.test(target));
  expect(up).toEqual([]);
});
