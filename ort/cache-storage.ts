/** Compiled models in the Cache Storage of pages and workers. */

import { evicted, type Store } from "./store.js";

const CACHE = "wasmith-ort";
/** When each file was used last; what is written to it at the same time by another page may be lost, and costs no more than the order. */
const USED = "used.json";

/** Undefined where the page has no Cache Storage: outside of secure contexts. */
export async function cacheStorage(limit: number): Promise<Store | undefined> {
  if (typeof caches === "undefined") return undefined;
  const cache = await caches.open(CACHE);
  // Only addresses of http are keys. None is ever asked for.
  const at = (name: string): string => `https://wasmith.invalid/${name}`;
  const put = (name: string, bytes: BodyInit): Promise<void> => cache.put(at(name), new Response(bytes));
  type Uses = Record<string, { readonly bytes: number; readonly used: number }>;
  const uses = async (): Promise<Uses> => (await (await cache.match(at(USED)))?.json().catch(() => ({}))) ?? {};
  const touch = async (name: string): Promise<void> => {
    const all = await uses();
    all[name] = { bytes: all[name]?.bytes ?? 0, used: Date.now() };
    await put(USED, JSON.stringify(all));
  };

  return {
    async read(name) {
      const found = await cache.match(at(name));
      return found && new Uint8Array(await found.arrayBuffer());
    },
    async open(name) {
      const found = await cache.match(at(name));
      // Nobody waits for that; where it fails, the order is another.
      if (found) touch(name).catch(() => {});
      return found;
    },
    async write(name, bytes) {
      await put(name, bytes as Uint8Array<ArrayBuffer>);
      const all = await uses();
      all[name] = { bytes: bytes.length, used: Date.now() };
      const files = Object.entries(all).map(([file, use]) => ({ name: file, ...use }));
      for (const gone of evicted(files, limit, name)) {
        await cache.delete(at(gone));
        delete all[gone];
      }
      await put(USED, JSON.stringify(all));
    },
    async remove(name) {
      await cache.delete(at(name));
    },
  };
}
