/**
 * Digests of files, which are computed once: as long as a file has the size, the times and the number that it had, it holds what it held.
 * Reading and hashing 100 MB take longer than all else of a session that is made of what was kept. Node only.
 */

import { importModule } from "../runtime/platform.js";
import { read } from "../runtime/read.js";
import { hashOf } from "./hash.js";
import type { Store } from "./store.js";

/** A file that was written less than so many milliseconds before it was looked at may be written again within the same tick of its clock. */
const FRESH = 2_000;

interface Remembered {
  readonly stamp: string;
  readonly digest: string;
}

/** SHA-256 of a file in hex. @throws ModelError where it can't be read */
export async function fileDigest(path: string, store: Store): Promise<string | undefined> {
  const { stat } = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
  const name = `digests/${await hashOf(new TextEncoder().encode(path))}.json`;
  const stampOf = async (): Promise<string | undefined> => {
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    if (!found || Date.now() - Number(found.mtimeNs / 1_000_000n) < FRESH) return undefined;
    return [found.size, found.mtimeNs, found.ctimeNs, found.ino].join(" ");
  };
  const stamp = await stampOf();
  const known = stamp === undefined ? undefined : await remembered(store, name);
  if (known && known.stamp === stamp) return known.digest;
  const digest = await hashOf(await read(path));
  // Not while somebody writes it.
  if (digest !== undefined && stamp !== undefined && stamp === (await stampOf()))
    await store.write(name, new TextEncoder().encode(JSON.stringify({ stamp, digest } satisfies Remembered)));
  return digest;
}

async function remembered(store: Store, name: string): Promise<Remembered | undefined> {
  const bytes = await store.read(name);
  try {
    return bytes && (JSON.parse(new TextDecoder().decode(bytes)) as Remembered);
  } catch {
    // Damaged: as if there were none.
    return undefined;
  }
}
