/** What bundlers make of glue and runtime, from the package as it is published: run in Chromium, with threads, under a strict policy. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Artifact, compile, losses, nn, optim, trainStep } from "../../index.js";
import { load, type Report } from "../../runtime/index.js";
import { browserObstacle, serve, startBrowser } from "../browser/harness.js";

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
}

/** A training step whose weights are larger than what bundlers put into code (vite: 4 KiB), and whose modules are of all four variants. */
function trainingStep() {
  return trainStep(nn.sequential(nn.Linear(48, 48), nn.ReLU()), {
    inputs: { x: ["n", 48] },
    targets: { t: ["n", 48] },
    loss: losses.mse(),
    optimizer: optim.SGD({ lr: 0.1 }),
  });
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

  /** A project with the model in it. */
  async function projectOf(name: string, options: Parameters<Artifact["write"]>[1] = {}): Promise<string> {
    const project = join(folder, name);
    await cp(join(here, "project"), project, { recursive: true });
    await artifact.write(join(project, "model"), options);
    return project;
  }

  /** Opens a page of these files and awaits what it tells. */
  async function expectAnswer(files: ReadonlyMap<string, Uint8Array>, path = "index.html"): Promise<void> {
    // Chromium asks for an icon of its own accord.
    const site = await serve({ files: new Map([...files, ["/favicon.ico", new Uint8Array()]]) });
    const page = await browser.newPage();
    const told: string[] = [];
    page.on("console", (message) => told.push(message.text()));
    page.on("pageerror", (error) => told.push(String(error)));
    page.on("requestfailed", (request) => told.push(`${request.url()} failed`));
    page.on("response", (response) => response.ok() || told.push(`${response.status()} ${response.url()}`));
    page.setDefaultTimeout(20_000);
    try {
      await page.goto(site.url + path);
      const attribute = await page.waitForSelector("html[data-answer]", { state: "attached" }).catch(() => null);
      const answer: Answer = JSON.parse((await attribute?.getAttribute("data-answer")) ?? "null");
      expect({ told, answer }).toMatchObject({ told: [], answer: { report: { threads: 2, notes: [] } } });
      expect(answer.report.variant).toMatch(/-threads$/);
      // Relaxed SIMD may round otherwise.
      for (const what of ["output", "losses"] as const)
        for (const [i, value] of answer[what].entries()) expect(value).toBeCloseTo(expected[what][i]!, 5);
      expect(answer.error).toMatch(/input "X": the model has no such input/);
    } finally {
      await page.close();
      site.close();
    }
  }

  it.each(["vite", "webpack", "rspack", "rollup"])("is bundled by %s", async (bundler) => {
    const project = await projectOf(bundler);
    await execute(process.execPath, [join(here, "build", `${bundler}.mjs`)], { cwd: project });
    await expectAnswer(await filesIn(join(project, "out")));
  });

  it("is needed by no page and no worker beside a standalone artefact", async () => {
    const files = await filesIn(await projectOf("static", { standalone: true }));
    await expectAnswer(files);
    await expectAnswer(files, "worker.html");
  });

  it("is one file with its glue", async () => {
    await expectAnswer(await filesIn(await projectOf("single", { standalone: true, singleFile: true })));
  });
});
