/** What is published: what it installs, what it holds, and the notices of what it holds. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const isBuilt = existsSync(join(root, "dist/wasmith.js"));
if (!isBuilt) console.warn("the package is not tested: dist/ is not built (npm run build)");

interface Package {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly scripts: Readonly<Record<string, string>>;
}

describe.skipIf(!isBuilt)("the packed package", () => {
  let folder: string;
  let packed: Package;
  const inside = (...path: string[]): string => join(folder, "package", ...path);

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "wasmith-package-"));
    const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], {
      cwd: root,
    });
    const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
    await run("tar", ["xzf", join(folder, filename), "-C", folder]);
    packed = JSON.parse(readFileSync(inside("package.json"), "utf8")) as Package;
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const bundles = (): string[] => readdirSync(inside("dist")).filter((f) => f.endsWith(".js"));
  const code = (file: string): string => readFileSync(inside("dist", file), "utf8");

  it("depends on exactly what its files import", async () => {
    const { metafile } = await build({
      entryPoints: bundles().map((f) => inside("dist", f)),
      outdir: folder,
      bundle: true,
      write: false,
      metafile: true,
      format: "esm",
      platform: "node",
      packages: "external",
      logLevel: "error",
    });
    const imported = Object.values(metafile.inputs).flatMap((file) =>
      file.imports.filter((i) => i.external).map((i) => i.path),
    );
    const packages = imported.filter((name) => !name.startsWith("node:"));
    // Asked for by names that bundlers don't see: a bar in the terminal, and what some have installed.
    expect(packages).toEqual([]);
    const names = [...Object.keys(packed.dependencies), ...Object.keys(packed.peerDependencies)].sort();
    expect(names).toEqual(["binaryen", "cli-progress", "esbuild"]);
    const all = bundles().map(code).join("\n");
    for (const name of names) expect(all).toMatch(new RegExp(`importModule\\w*\\("${name}"\\)|\\["${name}"\\]\\.join`));
    const optional = Object.fromEntries(Object.keys(packed.peerDependencies).map((name) => [name, { optional: true }]));
    expect(packed.peerDependenciesMeta).toEqual(optional);
  });

  it("brings nothing with install scripts, and no protobufjs, into a consumer's folder", () => {
    const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
      packages: Record<
        string,
        { dev?: boolean; optional?: boolean; devOptional?: boolean; hasInstallScript?: boolean }
      >;
    };
    const installed = Object.entries(packages).filter(
      ([path, p]) => path !== "" && !p.dev && !p.optional && !p.devOptional,
    );
    const names = installed.map(([path]) => path.replace(/^.*node_modules\//, ""));
    expect(names).toEqual(expect.arrayContaining(Object.keys(packed.dependencies)));
    expect(names.filter((name) => /proto/.test(name))).toEqual([]);
    expect(installed.filter(([, p]) => p.hasInstallScript).map(([path]) => path)).toEqual([]);
    // With wasmith itself, and without binaryen, 8.
    expect(names.length).toBeLessThanOrEqual(8);
  });

  it("carries the notices of the code that is bundled into it", () => {
    const notices = readFileSync(inside("dist/THIRD-PARTY-NOTICES.txt"), "utf8");
    const names = [
      "@huggingface/tokenizers",
      "commander",
      "fast-png",
      "fflate",
      "iobuffer",
      "jpeg-js",
      "papaparse",
      "picocolors",
    ];
    const { resolve } = createRequire(import.meta.url);
    const folderOf = (name: string): string =>
      resolve
        .paths(name)!
        .map((folder) => join(folder, name))
        .find((folder) => existsSync(folder))!;
    for (const name of names) {
      const licence = readFileSync(join(folderOf(name), "LICENSE"), "utf8").trim();
      expect(notices).toContain(licence);
      expect(notices).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(`, "m"));
    }
    // Comments before the code of each file tell what a bundle holds.
    const bundled = new Set(
      bundles().flatMap((f) =>
        Array.from(code(f).matchAll(/^ *\/\/ .*node_modules\/((?:@[\w-]+\/)?[\w-]+)\//gm), (m) => m[1]!),
      ),
    );
    expect([...bundled].sort()).toEqual(names);
  });

  it("reads data by itself, decoders included, and the runtime does not need it", async () => {
    const script = `
      import { dataset, readCsv, readImage } from ${JSON.stringify(pathToFileURL(inside("dist/data.js")).href)};
      const rows = await readCsv(new TextEncoder().encode("x,y\\n1,2\\n3,4\\n"));
      const image = await readImage(${JSON.stringify(join(root, "tests/fixtures/data/444.jpg"))});
      console.log((await dataset(rows).batch(2).at(0)).x.data.join(), image.shape.join());`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script], { cwd: folder });
    expect(stdout.trim()).toBe("1,3 3,9,13");
    for (const file of ["runtime.js", "worker.js", "wasmith.js"])
      expect(code(file)).not.toMatch(/["']\.\/data(?!-url)/);
  });

  it("has layers whose names are those that messages name", async () => {
    const { nn } = (await import(pathToFileURL(inside("dist/wasmith.js")).href)) as { nn: Record<string, unknown> };
    const layers = Object.entries(nn).filter(([, v]) => typeof v === "function" && /^class/.test(String(v)));
    expect(layers.length).toBeGreaterThan(40);
    for (const [name, layer] of layers) if (name !== "Module") expect((layer as { name: string }).name).toBe(name);
  });

  it("gives values their methods, also where a bundler leaves out what nobody imports", async () => {
    const using = (file: string) => `
      import { param } from ${JSON.stringify(file)};
      console.log(param("x", { dtype: "f32", shape: [2, 3] }).mul(2).sum(1).shape.join());`;
    const { outputFiles } = await build({
      stdin: { contents: using(inside("dist/wasmith.js")), resolveDir: inside() },
      bundle: true,
      write: false,
      format: "esm",
      platform: "node",
      packages: "external",
      logLevel: "error",
    });
    const scripts = [using(pathToFileURL(join(root, "dist/wasmith.js")).href), outputFiles[0]!.text];
    for (const script of scripts) {
      const running = run(process.execPath, ["--input-type=module", "-"], { cwd: root });
      running.child.stdin!.end(script);
      expect((await running).stdout.trim()).toBe("2");
    }
  });

  it("has the files it names, and none of tests", () => {
    const entries = Object.values(packed.exports).flatMap((e) => (typeof e === "string" ? e : Object.values(e)));
    expect(entries.length).toBeGreaterThan(5);
    for (const path of [...Object.values(packed.bin), ...entries])
      expect([path, existsSync(inside(path))]).toEqual([path, true]);
    expect(existsSync(inside("dist/test"))).toBe(false);
    expect(Object.keys(packed.scripts).filter((name) => /install|prepare/.test(name))).toEqual([]);
  });
});
