/** What bundlers make of glue and runtime, from the package as it is published: run in Chromium, with threads, under a strict policy. */
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Artifact, compile, exportOnnx } from "../../index.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { load, type Report } from "../../runtime/index.js";
import { browserObstacle, serve, startBrowser } from "../browser/harness.js";
// Its weights are larger than what bundlers put into code (vite: 4 KiB).
import trainingStep from "./project/net.js";

const execute = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const here = join(root, "tests/bundles");
const obstacle =
  browserObstacle ??
  (existsSync(join(here, "node_modules"))
    ? null
    : "the bundlers are not installed (npm ci --prefix tests/bundles --ignore-scripts)");
if (obstacle) console.warn(`tests of bundles are skipped: ${obstacle}`);

/** What the page of `project/` tells. */
interface Answer {
  readonly output: readonly number[];
  readonly losses: readonly number[];
  readonly error: string;
  readonly report: Report;
  /** Of `models.js`. */
  readonly scores?: readonly number[];
  readonly before?: Answer;
  readonly same?: boolean;
}

const scores = (op: string): Uint8Array =>
  exportOnnx(
    parseGraph(`graph @scores(%x: f32[3]) -> (y: f32[3]) {\n  %0: f32[3] = ${op} %x\n  return %0\n}`, "scores"),
  );

/** What a page tells; null where it says nothing. */
async function told(page: Page): Promise<Answer> {
  const attribute = await page.waitForSelector("html[data-answer]", { state: "attached" }).catch(() => null);
  return JSON.parse((await attribute?.getAttribute("data-answer")) ?? "null");
}

/** Files of a folder by their paths in it. */
async function filesIn(folder: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const name of await readdir(folder, { recursive: true }))
    if ((await stat(join(folder, name))).isFile()) files.set(`/${name}`, await readFile(join(folder, name)));
  return files;
}

describe.skipIf(obstacle !== null)("the published package", () => {
  let folder: string;
  let artifact: Artifact;
  let browser: Awaited<ReturnType<typeof startBrowser>>;
  let expected: Pick<Answer, "output" | "losses">;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasmith-bundles-"));
    const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
    const [{ filename }] = JSON.parse((await execute("npm", pack, { cwd: root })).stdout);
    await execute("tar", ["-xzf", filename], { cwd: folder });
    await mkdir(join(folder, "node_modules"));
    await rename(join(folder, "package"), join(folder, "node_modules/wasmith"));
    const { dependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    // esbuild reads models in TypeScript.
    for (const name of [...Object.keys(dependencies), "esbuild"])
      await symlink(join(root, "node_modules", name), join(folder, "node_modules", name));
    artifact = await compile(trainingStep(), { name: "net" });
    browser = await startBrowser();
    const session = await load(await compile(trainingStep(), { name: "net" }));
    const x = Float32Array.from({ length: 2 * 48 }, (_, i) => Math.sin(i));
    const { output } = await session.run({ x });
    const history = await session.fit({ x, t: new Float32Array(2 * 48) }, { epochs: 2, batchSize: 2, progress: false });
    session.dispose();
    expected = { output: Array.from(output!.data as Float32Array), losses: history.map((h) => h.loss) };
  });
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** A project with the model in it, and one that is not compiled yet. */
  async function projectOf(
    name: string,
    { entry = "main.js", ...options }: Parameters<Artifact["write"]>[1] & { readonly entry?: string } = {},
  ): Promise<string> {
    const project = join(folder, name);
    await cp(join(here, "project"), project, { recursive: true });
    const page = await readFile(join(project, "index.html"), "utf8");
    await writeFile(join(project, "index.html"), page.replace("main.js", entry));
    await writeFile(join(project, "package.json"), `{ "type": "module", "private": true }\n`);
    const scores = parseGraph(
      "graph @scores(%x: f32[3]) -> (y: f32[3]) {\n  %0: f32[3] = neg %x\n  return %0\n}",
      "test",
    );
    await writeFile(join(project, "scores.onnx"), exportOnnx(scores));
    await artifact.write(join(project, "model"), options);
    return project;
  }

  const build = (project: string, bundler: string, ...args: readonly string[]) =>
    execute(process.execPath, [join(here, "build", `${bundler}.mjs`), ...args], { cwd: project });

  /** Opens a page of these files and awaits what it tells. */
  async function answerOf(files: ReadonlyMap<string, Uint8Array>, path = "index.html"): Promise<Answer> {
    // Chromium asks for an icon of its own accord.
    const site = await serve({ files: new Map([...files, ["/favicon.ico", new Uint8Array()]]) });
    const page = await browser.newPage();
    const heard: string[] = [];
    page.on("console", (message) => heard.push(message.text()));
    page.on("pageerror", (error) => heard.push(String(error)));
    page.on("requestfailed", (request) => heard.push(`${request.url()} failed`));
    page.on("response", (response) => response.ok() || heard.push(`${response.status()} ${response.url()}`));
    page.setDefaultTimeout(20_000);
    try {
      await page.goto(site.url + path);
      const answer = await told(page);
      expect({ heard, answer }).toMatchObject({ heard: [], answer: { report: { threads: 2, notes: [] } } });
      expectRight(answer);
      return answer;
    } finally {
      await page.close();
      site.close();
    }
  }

  function expectRight(answer: Answer): void {
    expect(answer).toMatchObject({ report: { variant: expect.stringMatching(/-threads$/) } });
    // Relaxed SIMD may round otherwise.
    for (const what of ["output", "losses"] as const)
      for (const [i, value] of answer[what].entries()) expect(value).toBeCloseTo(expected[what][i]!, 5);
    expect(answer.error).toMatch(/input "X": the model has no such input/);
  }

  it.each(["vite", "webpack", "rspack", "rollup"])("is bundled by %s", async (bundler) => {
    const project = await projectOf(bundler);
    await build(project, bundler);
    await answerOf(await filesIn(join(project, "out")));
  });

  it.each(["vite", "webpack", "rspack", "rollup", "esbuild"])("compiles models for %s", async (bundler) => {
    const project = await projectOf(`${bundler}-plugin`, { entry: "models.js" });
    const { stdout } = await build(project, bundler, "models.js", "plugin");
    expect(stdout).toMatch(/scores\.onnx: simd128 .+ gzipped\), .+, weights/);
    const answer = await answerOf(await filesIn(join(project, "out")));
    expectRight(answer.before!);
    expect(answer.scores).toEqual([-1, -2, -3]);
    expect(answer.same).toBe(true);
    expect(await readFile(join(project, "scores.d.onnx.ts"), "utf8")).toMatch(
      /"x": Tensor<"f32"[\s\S]+export default load;/,
    );
  });

  it("compiles a model anew while vite serves it", async () => {
    const project = await projectOf("vite-serve", { entry: "models.js" });
    const server = spawn(process.execPath, [join(here, "build/vite-serve.mjs"), "models.js", "plugin"], {
      cwd: project,
    });
    const page = await browser.newPage();
    try {
      const url = await new Promise<string>((resolve, reject) => {
        server.stdout.once("data", (data) => resolve(String(data).trim()));
        server.stderr.once("data", (data) => reject(new Error(String(data))));
        server.once("exit", (code) => reject(new Error(`it ended with ${code}`)));
      });
      await page.goto(url);
      const first = await told(page);
      expectRight(first);
      expect(first.scores).toEqual([-1, -2, -3]);
      await writeFile(join(project, "scores.onnx"), scores("abs"));
      await page.waitForFunction(() => document.documentElement.dataset.answer?.includes('"scores":[1,2,3]'));
    } finally {
      await page.close();
      server.kill();
    }
  });

  it("is needed by no page and no worker beside a standalone artefact", async () => {
    const files = await filesIn(await projectOf("static", { standalone: true }));
    await answerOf(files);
    await answerOf(files, "worker.html");
  });

  it("is one file with its glue", async () => {
    await answerOf(await filesIn(await projectOf("single", { standalone: true, singleFile: true })));
  });
});
