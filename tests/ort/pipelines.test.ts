/** transformers.js, unmodified, on wasmith/ort as it is published: pipelines give what they give on onnxruntime-node. Needs `npm run build`. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const address = new URL("../../dist/ort.js", import.meta.url);
const missing = !existsSync(here("./node_modules/@huggingface/transformers"))
  ? " (skipped: run npm ci --prefix tests/ort --ignore-scripts)"
  : !existsSync(fileURLToPath(address))
    ? " (skipped: run npm run build)"
    : "";

type Results = Readonly<Record<string, unknown>>;

async function results(...args: string[]): Promise<Results> {
  const { stdout } = await promisify(execFile)(process.execPath, [here("./pipelines.mjs"), ...args], {
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(stdout) as Results;
}

/** Numbers within what rounding explains, all else equal. */
function compare(got: unknown, want: unknown, where: string): void {
  if (typeof want === "number") expect(got, where).toBeCloseTo(want, 5);
  else if (typeof want !== "object" || want === null) expect(got, where).toBe(want);
  else {
    expect(Object.keys(got as object), where).toEqual(Object.keys(want));
    for (const [key, value] of Object.entries(want)) compare((got as Results)[key], value, `${where}.${key}`);
  }
}

describe.skipIf(missing !== "")(`pipelines of transformers.js${missing}`, () => {
  let folder: string;
  let wanted: Results;
  let got: Results;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "wasmith-pipelines-"));
    wanted = await results();
    got = await results(address.href, folder);
  }, 300_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    "text-classification",
    "feature-extraction",
    "token-classification",
    "zero-shot-classification",
    "image-classification",
    "object-detection",
    "automatic-speech-recognition",
    "automatic-speech-recognition by steps",
    "text-generation",
    "text2text-generation",
  ])("%s", (task) => {
    expect(typeof wanted[task], String(wanted[task])).toBe("object");
    compare(got[task], wanted[task], task);
  });

  it("are the same from what was kept", async () => {
    const kept = (): readonly string[] => readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
    const before = kept();
    expect(await results(address.href, folder)).toEqual(got);
    expect(kept()).toEqual(before);
  });
});
