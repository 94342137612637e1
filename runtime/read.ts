/** Bytes from wherever they are: paths, URLs, responses, memory. */

import { describe, modelError } from "./errors.js";
import { importModule, isNode } from "./platform.js";

/** Bytes, or where they are: a string is a path in Node and a URL in browsers. */
export type BinarySource = string | URL | Response | Promise<Response> | ArrayBuffer | Uint8Array;

/** Reads bytes; `base` is the URL against which names of siblings resolve, if there is one. */
export async function read(
  source: Exclude<BinarySource, Promise<Response>>,
  signal?: AbortSignal,
): Promise<{ readonly bytes: Uint8Array; readonly base: URL | null }> {
  signal?.throwIfAborted();
  if (source instanceof Response) return readResponse(source);
  if (source instanceof Uint8Array) return { bytes: source, base: null };
  if (source instanceof ArrayBuffer) return { bytes: new Uint8Array(source), base: null };
  if (typeof source !== "string" && !(source instanceof URL)) {
    throw modelError("source", `expected a path, URL, Response, bytes, module or artefact, got ${describe(source)}`);
  }
  let url: URL;
  try {
    url = await resolve(source);
  } catch (cause) {
    throw modelError(String(source), "not a valid address", undefined, cause);
  }
  if (isNode && url.protocol === "file:") {
    const { readFile } = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
    try {
      return { bytes: await readFile(url, { signal }), base: url };
    } catch (error) {
      signal?.throwIfAborted();
      throw modelError(String(source), `can't be read: ${(error as Error).message}`, undefined, error);
    }
  }
  try {
    return { ...(await readResponse(await fetch(url, signal ? { signal } : {}))), base: url };
  } catch (error) {
    signal?.throwIfAborted();
    if ((error as Error).name === "ModelError") throw error;
    throw modelError(url.href, `can't be fetched: ${(error as Error).message}`, undefined, error);
  }
}

async function readResponse(response: Response): Promise<{ bytes: Uint8Array; base: URL | null }> {
  if (!response.ok)
    throw modelError(response.url || "response", `the server answered ${response.status} ${response.statusText}`);
  const bytes = await response.arrayBuffer().catch((cause) => {
    throw modelError(response.url || "response", `can't be read: ${cause.message}`, undefined, cause);
  });
  return { bytes: new Uint8Array(bytes), base: response.url ? new URL(response.url) : null };
}

/** A string is a path in Node, relative to the working directory, and relative to the page in browsers. */
export async function resolve(source: string | URL): Promise<URL> {
  if (source instanceof URL) return source;
  if (/^(https?|file|data|blob):/.test(source)) return new URL(source);
  if (!isNode) return new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href);
  const { pathToFileURL } = await importModule<typeof import("node:url")>("node:url");
  return pathToFileURL(source);
}
