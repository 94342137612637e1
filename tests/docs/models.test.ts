import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { expect, it, vi } from "vitest";

const root = join(import.meta.dirname, "../..");

it("MODELS.md shows code that runs", async () => {
  const text = readFileSync(join(root, "docs/MODELS.md"), "utf8");
  const code = [...text.matchAll(/```ts\n(.*?)```/gs)].map((m) => m[1]).join("\n");
  const folder = join(root, "node_modules/.cache/wasmith");
  const outfile = join(folder, `models-doc-${process.pid}.mjs`);
  mkdirSync(folder, { recursive: true });
  await build({
    stdin: { contents: code, resolveDir: root, loader: "js" },
    alias: { wasmith: join(root, "index.ts") },
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
    expect(log.mock.calls.map((c) => c[0])).toEqual([
      ["first.weight", "first.bias", "blocks.0.body.0.weight"],
      ["logits"],
      expect.arrayContaining(["conv1.weight", "optimizer.mean.conv1.weight", "optimizer.step"]),
    ]);
  } finally {
    log.mockRestore();
    rmSync(outfile, { force: true });
  }
});
