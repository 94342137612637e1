/** Runs what the documents hold against the sources: a page's TypeScript (without types, so that it is JavaScript too) as one module. */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { vi } from "vitest";

const root = join(import.meta.dirname, "../..");

/** Imports a module of JavaScript for the time of `use`; it imports wasmith as a user does. */
export async function withModule<T>(code: string, name: string, use: (path: string) => Promise<T>): Promise<T> {
  const folder = join(root, "node_modules/.cache/wasmith");
  const outfile = join(folder, `${name}-${process.pid}.mjs`);
  mkdirSync(folder, { recursive: true });
  await build({
    stdin: { contents: code, resolveDir: root, loader: "js" },
    alias: {
      "wasmith/callbacks": join(root, "runtime/callbacks/index.ts"),
      "wasmith/data": join(root, "runtime/data/index.ts"),
      "wasmith/runtime": join(root, "runtime/index.ts"),
      wasmith: join(root, "index.ts"),
    },
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    packages: "external",
    logLevel: "warning",
  });
  try {
    return await use(pathToFileURL(outfile).href);
  } finally {
    rmSync(outfile, { force: true });
  }
}

/** The first argument of each of the page's calls of console.log. */
export async function loggedBy(page: string): Promise<readonly unknown[]> {
  const text = readFileSync(join(root, "docs", page), "utf8");
  const code = [...text.matchAll(/```ts\n(.*?)```/gs)].map((m) => m[1]).join("\n");
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  try {
    return await withModule(code, page, async (path) => {
      await import(/* @vite-ignore */ path);
      return log.mock.calls.map((c) => c[0]);
    });
  } finally {
    log.mockRestore();
  }
}
