/** Loading that is watched, or fetched in a way of the caller's. A module of its own, which is loaded by those who ask for it. */
import { importModule, isNode } from "./platform.js";
import type { BinarySource, open as openSource, openUrl, resolve } from "./read.js";
import type { Stream } from "./stream.js";

/** How far a file has come. */
export interface LoadProgress {
  /** Its address as it was given or found; empty for bytes and responses without one. */
  readonly file: string;
  /** Bytes that have come, and of all; null where the server does not say how many (compressed transfers). */
  readonly loaded: number;
  readonly total: number | null;
}

/** What is used of `fetch`. */
export type Fetch = (
  url: URL,
  init: { readonly signal?: AbortSignal; readonly headers?: Readonly<Record<string, string>> },
) => Promise<Response>;

/** What modules that are loaded on demand take from the session's, so that errors are of its classes. */
interface Tools {
  readonly open: typeof openSource;
  readonly openUrl: typeof openUrl;
  readonly resolve: typeof resolve;
}

interface Watch {
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: LoadProgress) => void) | undefined;
  readonly fetch: Fetch | undefined;
}

/** Bytes between two reports. */
const reportBytes = 2 ** 16;

/** Opens a source, as `open` does. */
export async function openWatched(
  source: Exclude<BinarySource, Promise<Response>>,
  { signal, onProgress, fetch = globalThis.fetch }: Watch,
  tools: Tools,
): Promise<Stream> {
  signal?.throwIfAborted();
  const isAddress = typeof source === "string" || source instanceof URL;
  const url = isAddress ? await tools.resolve(source).catch(() => null) : null;
  let total: number | null = null;
  let stream: Stream;
  if (url && /^https?:/.test(url.protocol)) {
    stream = await tools.openUrl(url, signal, async (address, init) => {
      const response = await fetch(address, init);
      total = lengthOf(response);
      return response;
    });
  } else {
    total = source instanceof Response ? lengthOf(source) : isAddress ? null : source.byteLength;
    stream = await tools.open(source, signal);
    if (isNode && url?.protocol === "file:") total = await fileLength(url);
  }
  const file = url ? (url.protocol === "data:" ? "" : url.href) : source instanceof Response ? source.url : "";
  return onProgress ? counted(stream, file, total, onProgress) : stream;
}

/** What comes is as long as the header says, unless it is compressed on the way. */
function lengthOf({ headers }: Response): number | null {
  const length = headers.get("content-length");
  return length === null || headers.has("content-encoding") ? null : Number(length);
}

async function fileLength(url: URL): Promise<number> {
  const { stat } = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
  return (await stat(url)).size;
}

/** The same stream, which tells what was read of it. */
function counted(
  stream: Stream,
  file: string,
  total: number | null,
  onProgress: (progress: LoadProgress) => void,
): Stream {
  let loaded = 0;
  const tell = (bytes: number): void => {
    loaded += bytes;
    onProgress({ file, loaded, total });
  };
  tell(0);
  return {
    base: stream.base,
    async fill(target) {
      // Large reads are told in parts.
      let at = 0;
      while (at < target.length) {
        const part = target.subarray(at, at + reportBytes);
        const got = await stream.fill(part);
        at += got;
        if (got > 0) tell(got);
        if (got < part.length) break;
      }
      return at;
    },
    async rest() {
      const rest = await stream.rest();
      tell(rest.length);
      return rest;
    },
    close: () => stream.close(),
  };
}
