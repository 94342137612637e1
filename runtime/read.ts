/** Bytes from wherever they are: paths, URLs, responses, memory. */

import { Complaint, explain } from "./complaint.js";
import { modelError } from "./errors.js";
import type { Fetch } from "./loading.js";
import { importModule, isNode } from "./platform.js";
import { type Bytes, piecewise, type Stream, streamOf } from "./stream.js";

/** Bytes, or where they are: a string is a path in Node and a URL in browsers. */
export type BinarySource = string | URL | Response | Promise<Response> | ArrayBuffer | Uint8Array;

/** Opens a source. @throws ModelError where there is nothing to read; the signal's reason. */
export async function open(source: Exclude<BinarySource, Promise<Response>>, signal?: AbortSignal): Promise<Stream> {
  signal?.throwIfAborted();
  if (source instanceof Uint8Array) return streamOf(source);
  if (source instanceof ArrayBuffer) return streamOf(new Uint8Array(source));
  if (typeof source !== "string" && !(source instanceof URL)) {
    // Node loads its whole HTTP client where this name is first read.
    if (source instanceof Response) return openResponse(source, signal);
    throw new Complaint("source", [source]);
  }
  let url: URL;
  try {
    url = await resolve(source);
  } catch (cause) {
    throw modelError(String(source), "not a valid address", undefined, cause);
  }
  if (isNode && url.protocol === "file:") return openFile(url, String(source), signal);
  if (url.protocol === "data:") return streamOf((await import("./data-url.js")).decodeDataUrl(url));
  return openUrl(url, signal, fetch);
}

/** Opens what is fetched. @throws ModelError where it can't be; the signal's reason */
export async function openUrl(url: URL, signal: AbortSignal | undefined, get: Fetch): Promise<Stream> {
  try {
    return await openResponse(await get(url, signal ? { signal } : {}), signal, url);
  } catch (error) {
    signal?.throwIfAborted();
    if ((error as Error).name === "ModelError") throw error;
    throw modelError(url.href, `can't be fetched: ${(error as Error).message}`, undefined, error);
  }
}

/** All of a source's bytes. */
export async function read(
  source: Exclude<BinarySource, Promise<Response>>,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  return (await open(source, signal).catch(explain)).rest();
}

/** Least bytes of a file that are read at a time. */
const readAhead = 2 ** 16;

async function openFile(url: URL, name: string, signal: AbortSignal | undefined): Promise<Stream> {
  const unreadable = (error: unknown): never => {
    throw modelError(name, `can't be read: ${(error as Error).message}`, undefined, error);
  };
  const { open } = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
  const file = await open(url).catch(unreadable);
  return piecewise(
    url,
    async (place) => {
      signal?.throwIfAborted();
      // A few bytes are read with those behind them.
      const target = place.length < readAhead ? new Uint8Array(readAhead) : place;
      const { bytesRead } = await file.read(target, 0, Math.min(target.length, 2 ** 30)).catch(unreadable);
      return bytesRead ? target.subarray(0, bytesRead) : undefined;
    },
    () => file.close().catch(() => {}),
  );
}

async function openResponse(
  response: Response,
  signal: AbortSignal | undefined,
  base = response.url ? new URL(response.url) : null,
): Promise<Stream> {
  const name = response.url || "response";
  if (!response.ok) throw modelError(name, `the server answered ${response.status} ${response.statusText}`);
  const { body } = response;
  const reader = body && readerOf(body);
  // Pieces come in the same buffer, one after the other: new memory for each takes as long as reading it.
  let buffer = new ArrayBuffer(2 ** 19);
  return piecewise(
    base,
    async () => {
      const next = await reader?.read(new Uint8Array(buffer)).catch((cause) => {
        signal?.throwIfAborted();
        throw modelError(name, `can't be read: ${cause.message}`, undefined, cause);
      });
      if (next?.value) ({ buffer } = next.value);
      return next?.done ? undefined : next?.value;
    },
    () => reader?.cancel().catch(() => {}),
  );
}

/** A reader that fills the buffer which it is given; where the engine or the stream has none, one that gives buffers of its own. */
function readerOf(body: ReadableStream<Bytes>): {
  read(view: Bytes): Promise<ReadableStreamReadResult<Bytes>>;
  cancel(): Promise<void>;
} {
  try {
    return body.getReader({ mode: "byob" });
  } catch {
    return body.getReader();
  }
}

/** A string is a path in Node, relative to the working directory, and relative to the page in browsers. */
export async function resolve(source: string | URL): Promise<URL> {
  if (source instanceof URL) return source;
  if (/^(https?|file|data|blob):/.test(source)) return new URL(source);
  if (!isNode) return new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href);
  const { pathToFileURL } = await importModule<typeof import("node:url")>("node:url");
  return pathToFileURL(source);
}
