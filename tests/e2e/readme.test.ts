/** README's example runs and has the types it shows, in a process of its own against what is built. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
// Inside the package, so that `wasmith` names this one.
const folder = join(root, "dist/test/readme");
const isBuilt = existsSync(join(root, "dist/wasmith.js")) && existsSync(join(root, "dist/types/index.d.ts"));
if (!isBuilt) console.warn("README's example is skipped: dist/ is not built (npm run build)");

/** What the example takes for granted. */
const given = `
const images = Float32Array.from({ length: 100 * 32 * 32 }, (_, i) => Math.sin(i * i));
const labels = BigInt64Array.from({ length: 100 }, (_, i) => BigInt(i % 10));
const someImages = images.subarray(0, 2 * 32 * 32);
`;

describe.skipIf(!isBuilt)("README's example", () => {
  let example: string;
  beforeAll(async () => {
    await mkdir(folder, { recursive: true });
    const blocks = (await readFile(join(root, "README.md"), "utf8")).matchAll(/^```ts\n(.*?)^```/gms);
    example = Array.from(blocks, (m) => m[1]!).join("\n");
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("runs", async () => {
    // It holds no types, so that it is JavaScript too.
    const report = `console.log(logits.dtype, logits.shape.join("x"), logits.data.every(Number.isFinite)); session.dispose();`;
    await writeFile(join(folder, "example.mjs"), `${given}${example}\n${report}`);
    const { stdout } = await run(process.execPath, [join(folder, "example.mjs")], { timeout: 110_000 });
    expect(stdout.trim()).toBe("f32 2x10 true");
  });

  it("is typed", async () => {
    await writeFile(
      join(folder, "example.ts"),
      `${given}${example}\nexport const shape: readonly number[] | undefined = logits?.shape;`,
    );
    const compilerOptions = {
      target: "es2022",
      module: "nodenext",
      strict: true,
      noEmit: true,
      lib: ["es2023", "dom"],
      types: [],
    };
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["example.ts"] }));
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const { stdout } = await run(process.execPath, [tsc, "--project", folder]).catch(
      (error: { stdout: string }) => error,
    );
    expect(stdout).toBe("");
  });
});
