/** What is built, in processes of its own: starting, ending, the glue and its types. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeFiles } from "../../runtime/encode.js";
import { mainArtifact, trainArtifact } from "./fixture.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
// Inside the package, so that `wasmith/runtime` names this one.
const folder = join(root, "dist/test/process");
const isBuilt = existsSync(join(root, "dist/runtime.js")) && existsSync(join(root, "dist/types/runtime/index.d.ts"));
if (!isBuilt) console.warn("process tests are skipped: dist/ is not built (npm run build)");

async function node(script: string): Promise<string> {
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: folder,
    timeout: 100_000,
  });
  return stdout.trim();
}

describe.skipIf(!isBuilt)("the built runtime", () => {
  beforeAll(async () => {
    await mkdir(folder, { recursive: true });
    for (const artifact of [await mainArtifact(), await trainArtifact()]) {
      for (const [name, bytes] of await encodeFiles(artifact)) await writeFile(join(folder, name), bytes);
    }
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("lets the process end though a session with threads was not disposed", async () => {
    const script = `
      import { load } from "wasmith/runtime";
      const session = await load("affine.wasm", { threads: 2 });
      const { y } = await session.run({ x: Float32Array.of(1, 2, 3) });
      console.log(session.report.threads, ...y.data);`;
    expect(await node(script)).toBe("2 3 5 7");
  });

  it("loads a file without Node's HTTP client, and without reading it byte by byte", async () => {
    const script = `
      import fs from "node:fs/promises";
      import { syncBuiltinESMExports } from "node:module";
      import { load } from "wasmith/runtime";
      const { open } = fs;
      let reads = 0;
      fs.open = async (...args) => {
        const file = await open(...args);
        const read = file.read.bind(file);
        file.read = (...how) => { reads++; return read(...how); };
        return file;
      };
      syncBuiltinESMExports();
      const session = await load("affine.wasm");
      await session.run({ x: Float32Array.of(1, 2, 3) });
      const client = process.moduleLoadList.filter((name) => name.includes("undici"));
      console.log(reads > 0 && reads < 8, client.join());`;
    expect(await node(script)).toBe("true");
  });

  it("lets a worker's failure be an error, not a crash", async () => {
    const script = `
      import { load } from "wasmith/runtime";
      const session = await load("affine.wasm", { threads: 2 });
      const error = await session.run({ x: Float32Array.of(1235, 2, 3) }).catch((e) => e);
      console.log(error.name, (await session.run({ x: Float32Array.of(1, 2, 3) })).y.data[0]);`;
    expect(await node(script)).toBe("InternalError 3");
  });

  it("is loaded by the glue", async () => {
    const script = `
      import { load } from "./affine.js";
      const session = await load({ threads: 2 });
      console.log((await session.run({ x: Float32Array.of(1, 2, 3) })).z.data.join());`;
    expect(await node(script)).toBe("10,10,10");
  });

  it("does what docs/RUNTIME.md shows", async () => {
    const text = await readFile(join(root, "docs/RUNTIME.md"), "utf8");
    const examples = Array.from(text.matchAll(/```js\n(.*?)```/gs), (m) => m[1]!);
    expect(examples).toHaveLength(4);
    const [first, second, third, fourth] = await Promise.all(examples.map(node));
    expect(first).toContain(`[ { name: 'x', dtype: 'f32', shape: [ 'n', 3 ] } ]`);
    expect(first).toContain("data: Float32Array(3) [ 3, 5, 7 ]");
    const shown = Array.from(examples[1]!.matchAll(/^\/\/ (.*)$/gm), (m) => m[1]);
    expect(second).toBe(shown.join("\n"));
    expect(third).toBe("true\n-1");
    expect(fourth).toBe("true\ntrue true true");
  });

  it.each([false, true])("goes through a bundler for browsers without a word (minified: %s)", async (minify) => {
    const entryPoints = [join(root, "dist/runtime.js"), join(root, "dist/worker.js")];
    const { warnings, outputFiles } = await build({
      entryPoints,
      bundle: true,
      format: "esm",
      minify,
      platform: "browser",
      outdir: folder,
      write: false,
      logLevel: "silent",
    });
    expect(warnings).toEqual([]);
    // What bundlers look for is there.
    expect(outputFiles[0]!.text).toMatch(/new URL\("\.\/worker\.js", ?import\.meta\.url\)/);
    for (const { text } of outputFiles)
      expect(text).not.toMatch(/\beval\b|new Function|from ?"node:|\bcreateObjectURL\b/);
  });

  it("has types, and so has the glue", async () => {
    const consumer = `
      import { load as loadAny, type Session, type TrainingSession } from "wasmith/runtime";
      import { load } from "./affine.js";
      import { load as loadTraining } from "./regression.js";
      const session = await load({ threads: 2, deterministic: true });
      const { y, z } = await session.run({ x: new Float32Array(3) });
      export const data: Float32Array = y.data;
      export const shape: readonly [number, number] = z.shape;
      // @ts-expect-error a wrong input
      await session.run({ w: new Float32Array(3) });
      // @ts-expect-error a wrong array
      await session.run({ x: new Float64Array(3) });
      // @ts-expect-error no such output
      export const { q } = await session.run({ x: { dtype: "f32", shape: [1, 3], data } });
      const trainer = await loadTraining();
      const { loss } = await trainer.step({ x: new Float32Array(2), y: new Float32Array(1) });
      export const l: number = loss;
      const { p } = await trainer.predict({ x: new Float32Array(2) });
      export const first: number | undefined = p.data[0];
      export const any: Session = await loadAny("affine.wasm");
      export const fit = (await loadAny<TrainingSession>("regression.wasm")).fit({ x: new Float32Array(2), y: new Float32Array(1) }, { epochs: 2 });
    `;
    await writeFile(join(folder, "consumer.ts"), consumer);
    const options = {
      target: "es2022",
      module: "nodenext",
      strict: true,
      noEmit: true,
      lib: ["es2023", "dom"],
      types: [],
    };
    await writeFile(
      join(folder, "tsconfig.json"),
      JSON.stringify({ compilerOptions: options, include: ["consumer.ts"] }),
    );
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const { stdout } = await run(process.execPath, [tsc, "--project", folder]).catch(
      (error: { stdout: string }) => error,
    );
    expect(stdout).toBe("");
  });
});
