/** Browsers that no driver here speaks with: they are started with the address of a page, which tells the server what came of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};

/** Starts the browser with a new profile, at a page. */
export type Start = (url: string, profile: string) => ChildProcess;

export const firefox: Start = (url, profile) =>
  spawn("firefox", ["--headless", "--no-remote", "--profile", profile, url], { stdio: "ignore" });

/**
 * Serves the files, dist/ and a page that runs `script` (a module, which exports what it found as `default`) under a strict policy, with
 * what threads need. @returns what the module's default export was, after JSON
 */
export async function reportOf<T>(start: Start, script: string, files: ReadonlyMap<string, Uint8Array>): Promise<T> {
  const profile = mkdtempSync(join(tmpdir(), "wasmith-profile-"));
  const page = `<!doctype html><title>test</title><script type="module" src="/report.js"></script>`;
  const report = `const send = (body) => fetch("/report", { method: "POST", body: JSON.stringify(body) });
    import("/script.js").then(({ default: value }) => send({ value }), (error) => send({ error: String(error.stack ?? error) }));`;
  const own: Readonly<Record<string, string>> = { "/": page, "/report.js": report, "/script.js": script };
  let tell: (body: string) => void = () => {};
  const told = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    if (request.method === "POST") {
      let body = "";
      for await (const part of request) body += part;
      response.end();
      tell(body);
      return;
    }
    const file = normalize(join(root, pathname));
    const built = pathname.startsWith("/dist/") && file.startsWith(join(root, "dist")) && existsSync(file);
    const body = own[pathname] ?? files.get(pathname) ?? (built ? readFileSync(file) : undefined);
    response.setHeader(
      "Content-Security-Policy",
      "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'",
    );
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    response.setHeader("Content-Type", types[extname(pathname) || ".html"] ?? "application/octet-stream");
    response.writeHead(body === undefined ? 404 : 200).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const browser = start(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, profile);
  try {
    const ended = new Promise<string>((_, reject) => {
      browser.on("error", reject);
      browser.on("exit", (code) => reject(new Error(`the browser ended with ${code}`)));
    });
    const { value, error } = JSON.parse(await Promise.race([told, ended])) as { value: T; error?: string };
    if (error !== undefined) throw new Error(error);
    return value;
  } finally {
    browser.removeAllListeners("exit");
    browser.kill("SIGKILL");
    server.close();
    server.closeAllConnections();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
