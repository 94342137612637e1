import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { expect, it, vi } from "vitest";

const root = join(import.meta.dirname, "../..");

it("ONNX.md shows code that runs", { timeout: 60_000 }, async () => {
  const text = readFileSync(join(root, "docs/ONNX.md"), "utf8");
  const code = [...text.matchAll(/```ts\n(.*?)```/gs)].map((m) => m[1]).join("\n");
  const folder = join(root, "node_modules/.cache/wasmith");
  const outfile = join(folder, `onnx-doc-${process.pid}.mjs`);
  mkdirSync(folder, { recursive: true });
  await build({
    stdin: { contents: code, resolveDir: root, loader: "js" },
    alias: { "wasmith/runtime": join(root, "runtime/index.ts"), wasmith: join(root, "index.ts") },
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
    expect(log.mock.calls.map((c) => c[0])).toEqual([["logits"], true, ["logits"]]);
  } finally {
    log.mockRestore();
    rmSync(outfile, { force: true });
  }
});
