/** Engines in Chromium: a page of its own in a browser of its own for each measurement, with the headers that threads need. */

import { createReadStream, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, dirname, extname, join, normalize } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { ModelError } from "../ir/errors.js";
import { type Engine, installed, type Job, own, type Sources, Unsupported } from "./engines.js";
import { tfliteOf } from "./models/tflite.js";
import { peakMemory } from "./peak-memory.mjs";
import type { Speed, Start } from "./results.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "..");
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const patience = 600_000;
/** A browser that has just started is busy with itself for about so many ms. */
const settling = 1000;

/** Modules that packages import by name. */
const importMap = { imports: { "@litertjs/wasm-utils": "/modules/@litertjs/wasm-utils/dist/index.js" } };
const emptyPage = `<!doctype html><title>bench</title><script type="importmap">${JSON.stringify(importMap)}</script>`;

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".wasm": "application/wasm",
};

/** Serves folders of this machine by the first part of the path; `/` is an empty page. */
async function serve(folders: Readonly<Record<string, string>>): Promise<{ readonly url: string; close(): void }> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    response.setHeader("Content-Type", types[extname(pathname) || ".html"] ?? "application/octet-stream");
    if (pathname === "/") {
      response.end(emptyPage);
      return;
    }
    const [, first = "", ...rest] = decodeURIComponent(pathname).split("/");
    const folder = folders[first];
    const file = folder === undefined ? "" : normalize(join(folder, ...rest));
    if (folder === undefined || !file.startsWith(folder) || !existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.setHeader("Content-Length", statSync(file).size);
    createReadStream(file, { highWaterMark: 2 ** 20 }).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close: () => server.close() };
}

async function inPage(engine: string, model: string, { io }: Sources, job: Job): Promise<Speed | Start> {
  const site = await serve({
    dist: join(root, "dist"),
    peers: join(here, "peers"),
    modules: join(here, "node_modules"),
    model: dirname(model),
    io: dirname(io),
  });
  const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];
  const browser = await chromium.launch({ executablePath, args, timeout: patience });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(patience);
    await page.goto(site.url);
    await setTimeout(settling);
    const given = JSON.stringify({ ...job, engine, model: `/model/${basename(model)}`, io: `/io/${basename(io)}` });
    // As text, since what compiles this file would rewrite the import.
    const result = await page.evaluate<Speed | Omit<Start, "rss">>(
      `import("/peers/page.mjs").then((m) => m.measureInPage(${given}))`,
    );
    if (job.what === "speed") return result as Speed;
    const devtools = await browser.newBrowserCDPSession();
    const { processInfo } = (await devtools.send("SystemInfo.getProcessInfo")) as {
      processInfo: readonly { readonly type: string; readonly id: number }[];
    };
    const renderers = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => peakMemory(id));
    return { ...(result as Omit<Start, "rss">), rss: Math.max(...renderers) };
  } finally {
    await browser.close();
    site.close();
  }
}

const pageEngine = (name: string, version: string | undefined, opens: (s: Sources) => string): Engine => ({
  id: `${name}@chromium`,
  versions: { [name]: version ?? "" },
  obstacle: !existsSync(executablePath)
    ? `${executablePath} is not there`
    : version === undefined
      ? `${name} is not installed: npm ci --prefix bench --ignore-scripts`
      : undefined,
  measure: async <J extends Job>(sources: Sources, job: J) =>
    inPage(name, opens(sources), sources, job) as Promise<J["what"] extends "start" ? Start : Speed>,
});

/** The model as TFLite, written beside the artefact when it is first asked for. */
function tfliteFile({ onnx, artifact }: Sources): string {
  const file = join(dirname(artifact), "model.tflite");
  if (existsSync(file)) return file;
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, tfliteOf(readFileSync(onnx)));
    return file;
  } catch (error) {
    throw error instanceof ModelError ? new Unsupported(error.message) : error;
  }
}

export const chromiumEngines = (): readonly Engine[] => [
  pageEngine("wasmith", own, (s) => s.artifact),
  pageEngine("ort-web", installed("onnxruntime-web"), (s) => s.onnx),
  pageEngine("litert", installed("@litertjs/core"), tfliteFile),
];
