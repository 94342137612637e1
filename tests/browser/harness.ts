/** Pages in a real Chromium, served from this machine: for tests that what is built runs in browsers. */
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, type Page } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** For a machine that does a lot at once, in ms. */
const patience = 100_000;
const root = fileURLToPath(new URL("../..", import.meta.url));

/** Why browser tests can't run here, or null. */
export const browserObstacle = !existsSync(executablePath)
  ? `${executablePath} is not installed`
  : !existsSync(join(root, "dist/runtime.js"))
    ? "dist/runtime.js is not built (npm run build)"
    : null;

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".wasm": "application/wasm",
};

/** What a page may do: its own scripts and workers, and WebAssembly. No eval, no blobs, nothing inline. */
const strictPolicy = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; base-uri 'none'";

export interface ServeOptions {
  /** Files by path (`/model/x.wasm`), beside the repository's own dist/ and examples/. */
  readonly files?: ReadonlyMap<string, Uint8Array | string>;
  /** Send the headers that SharedArrayBuffer needs. Default true. */
  readonly isolated?: boolean;
  /** The content security policy. */
  readonly policy?: string;
}

export interface Site {
  readonly url: string;
  close(): void;
}

/** Serves on a free port of 127.0.0.1. `/` is an empty page. */
export async function serve({
  files = new Map(),
  isolated = true,
  policy = strictPolicy,
}: ServeOptions = {}): Promise<Site> {
  const find = (path: string): Uint8Array | string | undefined => {
    if (path === "/") return "<!doctype html><title>test</title>";
    const given = files.get(path);
    if (given !== undefined) return given;
    const file = normalize(join(root, path));
    return /^\/(dist|examples)\//.test(path) && file.startsWith(root) && existsSync(file)
      ? readFileSync(file)
      : undefined;
  };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const body = find(pathname);
    response.setHeader("Content-Security-Policy", policy);
    if (isolated) {
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    }
    response.setHeader("Content-Type", types[extname(pathname) || ".html"] ?? "application/octet-stream");
    response.writeHead(body === undefined ? 404 : 200).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close: () => server.close() };
}

/** Starts a Chromium with a new, empty profile. */
export async function startBrowser(): Promise<{ newPage(): Promise<Page>; close(): Promise<void> }> {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];
  const browser = await chromium.launch({ executablePath, args, timeout: patience });
  return {
    newPage: async () => {
      const page = await browser.newPage();
      page.setDefaultTimeout(patience);
      return page;
    },
    close: () => browser.close(),
  };
}

/**
 * Runs the body of an async function in the page; `arg` and the result travel as JSON. It is text, since vitest rewrites
 * `import()` in functions.
 */
export async function runInPage<T>(page: Page, body: string, arg: unknown = null): Promise<T> {
  return JSON.parse(
    await page.evaluate(`(async (arg) => { ${body} })(${JSON.stringify(arg)}).then((r) => JSON.stringify(r))`),
  ) as T;
}
