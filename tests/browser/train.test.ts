/** A ConvNet trained in a worker of a page: the losses of Node, a page that stays free, a curve that is drawn; and the report's page. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { losses, nn, optim, trainStep } from "../../compiler/dsl/index.js";
import { encodeFiles } from "../../runtime/encode.js";
import type { ArtifactParts } from "../../runtime/format.js";
import { type EpochEvent, type History, load, type TrainingSession } from "../../runtime/index.js";
import { browserObstacle, runInPage, type Site, serve, startBrowser } from "./harness.js";

if (browserObstacle) console.warn(`browser tests are skipped: ${browserObstacle}`);

const samples = 320;
const epochs = 2;
const pixels = Array.from({ length: samples * 784 }, (_, i) =>
  Math.fround(Math.abs(Math.sin(i * 0.37 + Math.floor(i / 784)))),
);
const labels = Array.from({ length: samples }, (_, i) => i % 10);

describe.skipIf(browserObstacle !== null)("training in Chromium", () => {
  let site: Site;
  let browser: Awaited<ReturnType<typeof startBrowser>>;
  let expected: History;
  const batches: number[] = [];

  beforeAll(async () => {
    const net = nn.sequential(
      nn.Conv2d(1, 8, 5),
      nn.ReLU(),
      nn.MaxPool2d(2),
      nn.Conv2d(8, 16, 5),
      nn.ReLU(),
      nn.MaxPool2d(2),
      nn.Flatten(),
      nn.Dropout(0.25),
      nn.Linear(256, 10),
    );
    const program = trainStep(net, {
      inputs: { x: ["batch", 1, 28, 28] },
      targets: { y: { dtype: "i32", shape: ["batch"] } },
      loss: losses.crossEntropy(),
      optimizer: optim.Adam({ lr: 1e-3 }),
    });
    const artifact = (await compile(program, { name: "convnet" })) as unknown as ArtifactParts;
    const session = await load<TrainingSession>(artifact, { deterministic: true });
    expected = await session.fit(
      { x: Float32Array.from(pixels), y: Int32Array.from(labels) },
      { epochs, batchSize: 16, progress: false, callbacks: { onBatch: (e) => void batches.push(e.loss) } },
    );
    session.dispose();
    const files = new Map<string, Uint8Array | string>([["/data.json", JSON.stringify({ x: pixels, y: labels })]]);
    for (const [name, bytes] of await encodeFiles(artifact)) files.set(`/model/${name}`, bytes);
    files.set("/report.html", await expected.toHTML("ConvNet"));
    site = await serve({ files });
    browser = await startBrowser();
  });
  afterAll(async () => {
    site?.close();
    await browser?.close();
  });

  it("gives Node's losses, while the page goes on and draws them", async () => {
    const page = await browser.newPage();
    await page.goto(`${site.url}examples/live/index.html?model=/model/convnet.wasm&data=/data.json&epochs=${epochs}`);
    const seen = await runInPage<{
      losses: number[];
      history: EpochEvent[];
      error: string;
      ticks: number;
      ink: number;
    }>(
      page,
      `let ticks = 0;
       const timer = setInterval(() => { if (live.losses.length > 0) ticks++; }, 1);
       while (!live.history && !live.error) await new Promise((done) => setTimeout(done, 5));
       clearInterval(timer);
       await new Promise(requestAnimationFrame);
       await new Promise(requestAnimationFrame);
       const canvas = document.getElementById("curve");
       const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
       let ink = 0;
       for (let i = 3; i < data.length; i += 4) ink += data[i] > 0;
       return { ...live, ticks, ink };`,
    );
    expect(seen.error ?? null).toBeNull();
    expect(seen.losses).toEqual(batches);
    expect(seen.history.map((e) => e.loss)).toEqual(expected.map((e) => e.loss));
    // The page's own timers ran in the midst of training.
    expect(seen.ticks).toBeGreaterThan(2);
    expect(seen.ink).toBeGreaterThan(500);
    await page.close();
  });

  it("shows the report that a run gives, in both themes", async () => {
    const inline = await serve({
      files: new Map([["/report.html", await expected.toHTML("ConvNet")]]),
      policy: "default-src 'unsafe-inline'",
    });
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on("pageerror", (e) => problems.push(String(e)));
    page.on("request", (r) => {
      if (!r.url().endsWith("/report.html") && !r.url().endsWith("/favicon.ico")) problems.push(r.url());
    });
    const colours: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      await page.goto(`${inline.url}report.html`);
      const { charts, colour } = await runInPage<{ charts: number; colour: string }>(
        page,
        `return { charts: document.querySelectorAll("canvas").length, colour: getComputedStyle(document.body).backgroundColor };`,
      );
      expect(charts).toBe(4);
      colours.push(colour);
    }
    expect(new Set(colours).size).toBe(2);
    expect(problems).toEqual([]);
    inline.close();
    await page.close();
  });
});
