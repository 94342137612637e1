/** The model that a session is created from: its bytes, files of weights, and what was compiled ahead of time beside it. */

import { describe } from "../ir/describe.js";
import { ModelError } from "../ir/errors.js";
import { importModule } from "../runtime/platform.js";
import { read, resolve } from "../runtime/read.js";
import { fileDigest } from "./file-digest.js";
import { hashOf } from "./hash.js";
import type { ExternalFile, ModelFile } from "./options.js";
import type { Store } from "./store.js";

/** A model whose bytes can be read again. */
export interface ModelSource {
  bytes(): Promise<Uint8Array>;
  /** SHA-256 of the bytes in hex; undefined where the host can't hash. @param store remembers digests of files */
  digest(store: Store): Promise<string | undefined>;
  /** The same of a file beside the model; undefined where it can't be read. */
  siblingDigest(name: string, store: Store): Promise<string | undefined>;
  /** Where it is; undefined for bytes. */
  readonly url: URL | undefined;
  /** Its path in Node, beside which weights may lie. */
  readonly path: string | undefined;
}

const isAddress = (file: ModelFile): file is string | URL => typeof file === "string" || file instanceof URL;

async function bytesOf(file: ModelFile): Promise<Uint8Array> {
  if (file instanceof Blob) return new Uint8Array(await file.arrayBuffer());
  if (isAddress(file) || file instanceof Uint8Array || file instanceof ArrayBuffer) return read(file);
  throw new ModelError({ message: `expected a path, URL, bytes or a Blob, got ${describe(file)}` });
}

/** @throws ModelError where a path or address is none */
export async function modelSource(file: ModelFile): Promise<ModelSource> {
  const alone = { path: undefined, siblingDigest: async () => undefined };
  if (!isAddress(file)) {
    // Kept for feeds that the model must be compiled anew for.
    const bytes = await bytesOf(file);
    return { bytes: async () => bytes, digest: () => hashOf(bytes), url: undefined, ...alone };
  }
  const url = await resolve(file);
  if (url.protocol !== "file:") {
    let fetched: Promise<Uint8Array> | undefined;
    const bytes = (): Promise<Uint8Array> => {
      fetched ??= read(url);
      return fetched;
    };
    return { bytes, digest: async () => hashOf(await bytes()), url, ...alone };
  }
  const { fileURLToPath } = await importModule<typeof import("node:url")>("node:url");
  const path = fileURLToPath(url);
  const { dirname, join } = await importModule<typeof import("node:path")>("node:path");
  return {
    bytes: () => read(url),
    digest: (store) => fileDigest(path, store),
    siblingDigest: (name, store) => fileDigest(join(dirname(path), name), store).catch(() => undefined),
    url,
    path,
  };
}

/** The bytes of files of weights, by the names that the model has for them. */
export async function externalFiles(
  files: readonly ExternalFile[] = [],
): Promise<Readonly<Record<string, Uint8Array>>> {
  const entries = files.map(async (file) => {
    const { path, data } = typeof file === "string" ? { path: file, data: file } : file;
    return [path.replace(/^\.\//, ""), await bytesOf(data)] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** What was compiled ahead of time: `model.wasmith/model.wasm` beside `model.onnx`. Undefined where it is not there. */
export async function artifactBeside({ url }: ModelSource): Promise<URL | Response | undefined> {
  const match = url && /([^/]+)\.onnx$/.exec(url.pathname);
  if (!match) return undefined;
  const place = new URL(`${match[1]}.wasmith/${match[1]}.wasm${url.search}`, url);
  if (place.protocol === "file:") {
    const { existsSync } = await importModule<typeof import("node:fs")>("node:fs");
    return existsSync(place) ? place : undefined;
  }
  if (!/^https?:$/.test(place.protocol)) return undefined;
  const response = await fetch(place);
  // Servers of single-page applications answer with their page where there is nothing.
  const isThere = response.ok && !/^text\/html\b/.test(response.headers.get("content-type") ?? "");
  if (isThere) return response;
  await response.body?.cancel();
  return undefined;
}
