/** Runs the TypeScript of a page (which holds no types, so that it is JavaScript too) as one module against the sources. */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { vi } from "vitest";

const root = join(import.meta.dirname, "../..");

/** The first argument of each of the page's calls of console.log. */
export async function loggedBy(page: string): Promise<readonly unknown[]> {
  const text = readFileSync(join(root, "docs", page), "utf8");
  const code = [...text.matchAll(/```ts\n(.*?)```/gs)].map((m) => m[1]).join("\n");
  const folder = join(root, "node_modules/.cache/wasmith");
  const outfile = join(folder, `${page}-${process.pid}.mjs`);
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
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  try {
    await import(/* @vite-ignore */ pathToFileURL(outfile).href);
    return log.mock.calls.map((c) => c[0]);
  } finally {
    log.mockRestore();
    rmSync(outfile, { force: true });
  }
}
