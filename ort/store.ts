/** Where compiled models are kept: a folder in Node, Cache Storage in pages. */

import type { BinarySource } from "../runtime/read.js";

/** Files by names such as `KEY/index.json`. Each is replaced as a whole, so that readers and writers at the same time do not disturb one another. */
export interface Store {
  /** The bytes of a small file; undefined where there is none. */
  read(name: string): Promise<Uint8Array | undefined>;
  /** What `load` takes; undefined where there is none. Marks the file as used now. */
  open(name: string): Promise<BinarySource | undefined>;
  /** Writes a file, and removes what was not used for longest as far as all takes more than the limit. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  remove(name: string): Promise<void>;
}

/** Keeps nothing. */
export const noStore: Store = {
  read: async () => undefined,
  open: async () => undefined,
  write: async () => {},
  remove: async () => {},
};

/** The store, whose failures cost no more than what it would have saved: the first one is told. */
export function forgiving(store: Store, tell: (error: unknown) => void): Store {
  let isTold = false;
  const attempt = async <T>(use: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await use();
    } catch (error) {
      if (!isTold) tell(error);
      isTold = true;
      return undefined;
    }
  };
  return {
    read: (name) => attempt(() => store.read(name)),
    open: (name) => attempt(() => store.open(name)),
    write: (name, bytes) => attempt(() => store.write(name, bytes)),
    remove: (name) => attempt(() => store.remove(name)),
  };
}

interface Used {
  readonly name: string;
  readonly bytes: number;
  /** Greater is later. */
  readonly used: number;
}

/** The model that a file belongs to. */
const groupOf = (name: string): string => name.split("/")[0]!;

/**
 * Names of the files that have to go, so that the rest takes no more than the limit: all of the models that were not used for longest.
 * @param kept a file whose model is not among them
 */
export function evicted(files: readonly Used[], limit: number, kept: string): readonly string[] {
  const groups = new Map<string, { bytes: number; used: number }>();
  for (const { name, bytes, used } of files) {
    const group = groups.get(groupOf(name)) ?? { bytes: 0, used: 0 };
    groups.set(groupOf(name), { bytes: group.bytes + bytes, used: Math.max(group.used, used) });
  }
  let left = limit - (groups.get(groupOf(kept))?.bytes ?? 0);
  groups.delete(groupOf(kept));
  const gone = new Set<string>();
  for (const [name, { bytes }] of [...groups].sort(([, a], [, b]) => b.used - a.used)) {
    left -= bytes;
    if (left < 0) gone.add(name);
  }
  return files.map(({ name }) => name).filter((name) => gone.has(groupOf(name)));
}
