import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { losses, nn, optim, trainStep } from "../../compiler/dsl/index.js";
import { encodeFiles } from "../../runtime/encode.js";
import { load, type Report, type TrainingSession, type VariantId } from "../../runtime/index.js";
import { browserObstacle, runInPage, type Site, serve, startBrowser } from "./harness.js";

const size = 4;
const steps = 6;
const x = Array.from({ length: steps * size * 64 }, (_, i) => Math.fround(Math.sin(i * 1.7)));
const y = Array.from({ length: steps * size }, (_, i) => i % 3);

interface Answer {
  readonly report: Report;
  readonly losses: number[];
  readonly saved: number[];
  readonly logits: number[];
}

/** The same steps in Node and in a page; `load`, `url` and `options` come from outside. */
const train = `
  const session = await load(url, options);
  const losses = [];
  for (let i = 0; i < ${steps}; i++) {
    const batch = {
      x: { dtype: "f32", shape: [${size}, 1, 8, 8], data: Float32Array.from(x.slice(i * ${size * 64}, (i + 1) * ${size * 64})) },
      y: Int32Array.from(y.slice(i * ${size}, (i + 1) * ${size})),
    };
    losses.push((await session.step(batch)).loss);
  }
  const { logits } = await session.predict({ x: Float32Array.from(x.slice(0, 64)) }, { outputs: ["logits"] });
  const saved = Array.from(await session.save());
  const { report } = session;
  session.dispose();
  return { report, losses, saved, logits: Array.from(logits.data) };`;

describe.skipIf(browserObstacle !== null)("a compiled training step in Chromium", () => {
  let site: Site;
  let browser: Awaited<ReturnType<typeof startBrowser>>;
  let inNode: Answer;

  beforeAll(async () => {
    const model = nn.sequential({
      conv: nn.Conv2d(1, 4, 3),
      relu: nn.ReLU(),
      pool: nn.MaxPool2d(2),
      flatten: nn.Flatten(),
      fc: nn.Linear(36, 3),
    });
    const program = trainStep(model, {
      inputs: { x: ["batch", 1, 8, 8] },
      targets: { y: { dtype: "i32", shape: ["batch"] } },
      loss: losses.crossEntropy(),
      optimizer: optim.SGD({ lr: 0.1, momentum: 0.9 }),
      outputs: ["logits"],
    });
    const artifact = await compile(program, { name: "tiny" });
    const files = new Map(
      Array.from(await encodeFiles(artifact), ([name, bytes]) => [`/model/${name}`, bytes] as const),
    );
    site = await serve({ files });
    browser = await startBrowser();
    const run = Object.getPrototypeOf(async () => {}).constructor as new (
      ...args: string[]
    ) => (...args: unknown[]) => Promise<Answer>;
    inNode = await new run("load", "url", "options", "x", "y", train)(load, artifact, { deterministic: true }, x, y);
  });
  afterAll(async () => {
    site?.close();
    await browser?.close();
  });

  const inPage = async (options: object): Promise<Answer> => {
    const page = await browser.newPage();
    await page.goto(site.url);
    const prelude = `const { load } = await import("/dist/runtime.js"); const { url, options, x, y } = arg;`;
    const answer = await runInPage<Answer>(page, prelude + train, { url: "/model/tiny.wasm", options, x, y });
    await page.close();
    return answer;
  };

  it.each([1, 2])("follows Node bit for bit, with %i threads", async (threads) => {
    const answer = await inPage({ deterministic: true, threads });
    expect(answer.report.threads).toBe(threads);
    expect(answer.report.variant).toBe(threads === 1 ? "simd128" : "simd128-threads");
    expect(answer.losses).toEqual(inNode.losses);
    expect(answer.logits).toEqual(inNode.logits);
    expect(answer.saved).toEqual(inNode.saved);
    expect(inNode.losses[0]).toBeGreaterThan(0);
  });

  it.each(["relaxed", "relaxed-threads"] satisfies VariantId[])(
    "takes %s by itself, which stays close",
    async (variant) => {
      const answer = await inPage({ threads: variant === "relaxed" ? 1 : 2 });
      expect(answer.report).toMatchObject({ variant, notes: [] });
      answer.losses.forEach((loss, i) => {
        expect(loss).toBeCloseTo(inNode.losses[i]!, 4);
      });
    },
  );

  it("says whom the losses belong to", async () => {
    const session = await load<TrainingSession>(new URL(`${site.url}model/tiny.wasm`));
    expect(session.inputs).toEqual([{ name: "x", dtype: "f32", shape: ["batch", 1, 8, 8] }]);
    session.dispose();
  });
});
