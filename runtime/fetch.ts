/** `wasmith/fetch`: ways to fetch the files of an artefact, for the option `fetch` of `load`. */
import type { Fetch } from "./loading.js";

export type { Fetch } from "./loading.js";

const platformFetch: Fetch = (url, init) => fetch(url, init);

export interface CachedFetchOptions {
  /** Of the cache in Cache Storage. `caches.delete(name)` empties it. Default "wasmith". */
  readonly name?: string;
  /** Whether what lies at an address never changes, and need not be asked for again. Default: names with a hash, as `compile` gives them. */
  readonly isImmutable?: (url: URL) => boolean;
  /** What fetches. Default: the platform's. */
  readonly fetch?: Fetch;
}

/** `NAME.0123456789abcdef.weights`, `NAME.0123456789abcdef.relaxed.wasm` */
const hasHash = ({ pathname }: URL): boolean => /\.[0-9a-f]{16}\.([\w-]+\.)?(wasm|weights)$/.test(pathname);

/**
 * Keeps answers in Cache Storage, where they outlive the browser's own cache and serve without a network. What may change is asked for with the
 * tag of what is kept, so that it comes only if it is another. Where there is no Cache Storage (Node, pages on http) it only fetches.
 */
export function cachedFetch(options: CachedFetchOptions = {}): Fetch {
  const { name = "wasmith", isImmutable = hasHash, fetch: get = platformFetch } = options;
  return async (url, init) => {
    const cache = await globalThis.caches?.open(name).catch(() => undefined);
    if (!cache) return get(url, init);
    const kept = await cache.match(url);
    if (kept && (isImmutable(url) || /\bimmutable\b/.test(kept.headers.get("cache-control") ?? ""))) return kept;
    const tag = kept?.headers.get("etag");
    const asked = tag ? { ...init, headers: { "If-None-Match": tag } } : init;
    const response = await get(url, asked).catch((error) => {
      if (kept && !init.signal?.aborted) return kept;
      throw error;
    });
    if (response === kept || (kept && response.status === 304)) return kept;
    // What does not come to its end is not kept; where the disk is full, it is not either.
    if (response.status === 200) cache.put(url, response.clone()).catch(() => {});
    return response;
  };
}

export interface ResumingFetchOptions {
  /** How often a download goes on where it broke off. Default 5. */
  readonly retries?: number;
  /** Seconds before it goes on, twice as many each time. Default 0.5. */
  readonly waitSeconds?: number;
  /** What fetches. Default: the platform's. */
  readonly fetch?: Fetch;
}

/**
 * Goes on where a download broke off, by a request for the range of bytes that is missing, if the server gives such and the file has
 * not changed since.
 */
export function resumingFetch(options: ResumingFetchOptions = {}): Fetch {
  const { retries = 5, waitSeconds = 0.5, fetch: get = platformFetch } = options;
  return async (url, init) => {
    const first = await get(url, init);
    const { headers, body } = first;
    // By a weak tag, or a compressed body, no one knows which bytes are meant.
    const tag = headers.get("etag");
    const version = tag && !tag.startsWith("W/") ? tag : headers.get("last-modified");
    const length = Number(headers.get("content-length"));
    const isRanged = headers.get("accept-ranges") === "bytes" && !headers.has("content-encoding");
    if (first.status !== 200 || !body || !version || !isRanged || !length) return first;
    let reader = body.getReader();
    let at = 0;
    let left = retries;
    let wait = waitSeconds * 1000;
    const goOn = async (error: unknown): Promise<void> => {
      for (;;) {
        if (init.signal?.aborted || left-- <= 0) throw error;
        await new Promise((resolve) => setTimeout(resolve, wait));
        wait *= 2;
        const range = { Range: `bytes=${at}-`, "If-Range": version };
        const next = await get(url, { ...init, headers: range }).catch(() => undefined);
        if (!next) continue;
        // Another status is another file, or a server that gives no ranges after all.
        if (next.status !== 206 || !next.body) throw error;
        reader = next.body.getReader();
        return;
      }
    };
    const whole = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        for (;;) {
          try {
            const { done, value } = await reader.read();
            if (done && at < length) throw new Error(`${length - at} bytes are missing`);
            if (done) controller.close();
            else {
              at += value.length;
              controller.enqueue(value);
            }
            return;
          } catch (error) {
            await goOn(error);
          }
        }
      },
      cancel: (reason) => reader.cancel(reason),
    });
    return new Response(whole, { headers });
  };
}
