/**
 * Models as files: `node_modules/.cache/wasmith/bench/NAME/{model.onnx,io.safetensors}`. The second file has what the model is fed, and what
 * onnxruntime's native build makes of it where that is installed: tensors `case0.in.NAME` and `case0.out.NAME`.
 */

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { bytesOf } from "../../ir/tensor.js";
import { writeSafetensors } from "../../runtime/safetensors.js";
import { type BenchModel, feedsOf } from "./model.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = fileURLToPath(new URL("../../node_modules/.cache/wasmith/bench/", import.meta.url));
const native = fileURLToPath(new URL("../node_modules/onnxruntime-node/", import.meta.url));
const run = promisify(execFile);

export interface ModelFiles {
  readonly model: string;
  readonly io: string;
}

/** A page of this folder and those that it imports. */
function pagesOf(page: string, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(page)) return seen;
  seen.add(page);
  for (const [, other] of readFileSync(join(here, page), "utf8").matchAll(/from "\.\/([\w-]+)\.js"/g))
    pagesOf(`${other}.ts`, seen);
  return seen;
}

/** What files are made by. */
const source = ((): string => {
  const hash = createHash("sha256");
  for (const page of [...pagesOf("index.ts")].sort()) hash.update(readFileSync(join(here, page)));
  return hash.digest("hex");
})();

/** Whether files that are there were made by other sources than today's. */
export const isStale = (model: BenchModel): boolean => {
  const mark = join(folder, model.name, "source");
  return existsSync(mark) && readFileSync(mark, "utf8") !== source;
};

/** The files of a model, made where they are not there. */
export async function modelFiles(model: BenchModel, { fresh = false } = {}): Promise<ModelFiles> {
  const at = join(folder, model.name);
  const files = { model: join(at, "model.onnx"), io: join(at, "io.safetensors") };
  if (!fresh && existsSync(join(at, "source"))) return files;
  const made = `${at}.${process.pid}`;
  mkdirSync(made, { recursive: true });
  const paths = { model: join(made, "model.onnx"), io: join(made, "io.safetensors") };
  writeFileSync(paths.model, await model.onnx());
  const feeds = Object.entries(feedsOf(model));
  writeFileSync(
    paths.io,
    writeSafetensors(
      feeds.map(([name, t]) => ({ name: `case0.in.${name}`, dtype: t.dtype, shape: t.shape, data: bytesOf(t) })),
      { align: 8 },
    ),
  );
  if (existsSync(native))
    await run(process.execPath, [join(here, "../peers/record.mjs"), paths.model, paths.io], { maxBuffer: 2 ** 26 });
  writeFileSync(join(made, "source"), source);
  // Another process may have made the same.
  rmSync(at, { recursive: true, force: true });
  renameSync(made, at);
  return files;
}
