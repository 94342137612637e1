/** Kernels and tiles measured in a page: the compiler, bundled, tunes on Chromium's engine what is then compiled in Node. */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { nn, toGraph } from "../../compiler/dsl/index.js";
import { readTuning } from "../../compiler/tune/tuning.js";
import { printGraph } from "../../ir/graph-print.js";
import { browserObstacle, runInPage, type Site, serve, startBrowser } from "./harness.js";

const page = `
  import { parseGraph, tune } from "wasmith";
  import { load } from "wasmith/runtime";
  export const tuned = (text) => tune(parseGraph(text, "model"), { load, secondsPerRound: 0.05 });
`;

let site: Site;
let browser: Awaited<ReturnType<typeof startBrowser>>;

beforeAll(async () => {
  if (browserObstacle !== null) return;
  const { outputFiles } = await build({
    stdin: { contents: page, resolveDir: fileURLToPath(new URL("../..", import.meta.url)) },
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "esnext",
    external: ["node:*", "/dist/runtime.js", "module"],
    alias: { wasmith: "./dist/wasmith.js", "wasmith/runtime": "/dist/runtime.js" },
    write: false,
    logLevel: "error",
  });
  site = await serve({ files: new Map([["/tune.js", outputFiles[0]!.contents]]) });
  browser = await startBrowser();
});
afterAll(async () => {
  site?.close();
  await browser?.close();
});

it.skipIf(browserObstacle !== null)(
  "a page tunes, and Node compiles with what it found",
  { timeout: 240_000 },
  async () => {
    const model = toGraph(nn.sequential({ conv: nn.Conv2d(8, 16, 3), relu: nn.ReLU() }), {
      inputs: { x: [2, 8, 8, 8] },
    });
    const open = await browser.newPage();
    await open.goto(site.url);
    const answer = await runInPage<unknown>(
      open,
      `const { tuned } = await import("/tune.js"); return await tuned(arg);`,
      printGraph(model),
    );
    const tuning = readTuning(answer, "the page");
    expect(tuning.measured.variant).toMatch(/^relaxed/);
    expect(tuning.measured.engine).toMatch(/Chrome\//);
    await compile(model, { tuning, onWarning: (text) => expect.fail(text) });
  },
);
