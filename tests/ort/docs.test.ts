/** The programs of docs/ORT.md run, in a project that has the package as it is built. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { product } from "./models.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const installed = join(root, "tests/ort/node_modules");
const missing = !existsSync(join(root, "dist/ort.js"))
  ? " (skipped: run npm run build)"
  : !existsSync(installed)
    ? " (skipped: run npm ci --prefix tests/ort --ignore-scripts)"
    : "";

describe.skipIf(missing !== "")(`docs/ORT.md${missing}`, () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "wasmith-ort-docs-"));
    const page = readFileSync(join(root, "docs/ORT.md"), "utf8");
    for (const [, name, code] of page.matchAll(/```js\n\/\/ ([\w-]+\.mjs)\n(.*?)```/gs))
      writeFileSync(join(folder, name!), code!);
    writeFileSync(join(folder, "model.onnx"), product());
    mkdirSync(join(folder, "node_modules/@huggingface"), { recursive: true });
    symlinkSync(root, join(folder, "node_modules/wasmith"));
    for (const name of ["@huggingface/transformers", "onnxruntime-common"])
      symlinkSync(join(installed, name), join(folder, "node_modules", name));
    symlinkSync(join(root, "tests/fixtures/ort"), join(folder, "models"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ["quick-start.mjs", /^\[ 3, 3 \] Float32Array\(9\) \[\s*700,\s*800,\s*900,\s*1580/],
    ["sentiment.mjs", /^\[\s*\{\s*label: '\w+', score: 0\.\d+\s*\}\s*\]/],
    ["backend.mjs", /^Float32Array\(9\) \[\s*4, 4, 4/],
    ["settings.mjs", /^\[\s*\{\s*name: 'a',\s*isTensor: true,\s*type: 'float32'/],
  ])("%s", async (name, expected) => {
    const { stdout } = await promisify(execFile)(process.execPath, [name], {
      cwd: folder,
      env: { ...process.env, WASMITH_CACHE: join(folder, "cache") },
    });
    expect(stdout).toMatch(expected);
    expect(existsSync(join(folder, name === "settings.mjs" ? "compiled" : "cache/wasmith/ort"))).toBe(true);
  });
});
