/** Models at web addresses: downloaded to a folder that is removed when the process ends. */

import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ModelError } from "../../ir/errors.js";
import { decodeModel } from "../onnx/protobuf.js";
import { bytes as bytesText } from "./format.js";
import { StatusLine } from "./status-line.js";

/** Bytes of a download, at most: what a module without 64-bit addresses holds. */
const most = 2 ** 32;
/** Milliseconds without a byte after which a server is given up. */
const patience = 30_000;

export const isUrl = (source: string): boolean => /^https?:\/\//i.test(source);

/**
 * Where the file is on this disk. An ONNX file's weights in other files are downloaded beside it. `#sha256=…` behind an address is compared with
 * what comes.
 *
 * @throws ModelError where the server does not give a whole file, or one of another kind or hash
 */
export async function onDisk(source: string): Promise<string> {
  if (!isUrl(source)) return source;
  const url = new URL(source);
  const name = decodeURIComponent(url.pathname.split("/").at(-1) || "download").replace(/[^\w.-]/g, "_");
  if (/\.[cm]?[jt]s$/.test(name))
    throw new ModelError({
      where: source,
      message: "code is not run from an address",
      hint: "download it, look at it, and give the file",
    });
  const folder = await mkdtemp(join(tmpdir(), "wasmith-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, name);
  const status = new StatusLine();
  try {
    await download(url, path, status);
    if (name.endsWith(".onnx"))
      for (const location of await externalLocations(path)) {
        const target = join(folder, location);
        await mkdir(dirname(target), { recursive: true });
        await download(new URL(location.split("/").map(encodeURIComponent).join("/"), url), target, status);
      }
  } finally {
    status.clear();
  }
  return path;
}

async function download(url: URL, path: string, status: StatusLine): Promise<void> {
  const { href } = url;
  const fail = (message: string, hint?: string, cause?: unknown): never => {
    throw new ModelError({ where: href, message, hint }, cause === undefined ? undefined : { cause });
  };
  const silence = new AbortController();
  const waiting = setTimeout(() => silence.abort(new Error(`no answer for ${patience / 1000} s`)), patience);
  try {
    const response = await fetch(url, { signal: silence.signal });
    if (!response.ok) fail(`the server answered ${response.status} ${response.statusText}`.trim());
    const type = response.headers.get("content-type") ?? "";
    if (/^text\/html|^application\/xhtml/.test(type))
      fail("it is a web page, no model", "give the address of the file itself (raw, or resolve in place of blob)");
    const stated = response.headers.get("content-length");
    // Of packed bytes, where they are packed on the way.
    const total = stated !== null && !response.headers.has("content-encoding") ? Number(stated) : undefined;
    if ((total ?? 0) > most) fail(`it has ${bytesText(total!)}, more than ${bytesText(most)}`);
    const hash = createHash("sha256");
    const file = await open(path, "w");
    let done = 0;
    try {
      for await (const chunk of response.body ?? []) {
        waiting.refresh();
        done += chunk.length;
        if (done > most) fail(`it has more than ${bytesText(most)}`);
        hash.update(chunk);
        await file.write(chunk);
        const share = total ? ` of ${bytesText(total)} (${Math.floor((100 * done) / total)} %)` : "";
        status.show(`downloading ${url.pathname.split("/").at(-1)}: ${bytesText(done)}${share}`);
      }
    } finally {
      await file.close();
    }
    if (total !== undefined && done !== total) fail(`${done} bytes came instead of ${total}`, "try again");
    const wanted = /^#sha256=([0-9a-f]{64})$/i.exec(url.hash)?.[1]?.toLowerCase();
    const found = hash.digest("hex");
    if (url.hash.startsWith("#sha256=") && wanted !== found)
      fail(`its SHA-256 is ${found}`, "it is another file than the address says, or the hash is mistyped");
  } catch (error) {
    if (error instanceof ModelError) throw error;
    const { cause, message } = (silence.signal.aborted ? silence.signal.reason : error) as Error;
    fail(`it can't be downloaded: ${cause instanceof Error ? cause.message : message}`, undefined, error);
  } finally {
    clearTimeout(waiting);
  }
}

/** Files with weights that an ONNX file names: relative paths that stay in its folder, others the import refuses. */
async function externalLocations(path: string): Promise<readonly string[]> {
  const { readFile } = await import("node:fs/promises");
  const found = new Set<string>();
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return;
    if (Array.isArray(value)) {
      value.forEach(visit);
      return;
    }
    const { externalData } = value as { readonly externalData?: readonly { key?: string; value?: string }[] };
    for (const { key, value: location } of externalData ?? [])
      if (key === "location" && location && !/^[/\\]|^\w:|\.\.|\0/.test(location))
        found.add(location.replaceAll("\\", "/"));
    Object.values(value).forEach(visit);
  };
  visit(decodeModel(await readFile(path)));
  return [...found];
}
