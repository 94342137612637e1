/** The compiled forms of one model in a store: an index of what each serves, and the files. */

import type { BinarySource } from "../runtime/read.js";
import { concatBytes } from "../runtime/stream.js";
import type { CompiledArtifact, ModelFace } from "./face.js";
import { hashOf } from "./hash.js";
import type { Store } from "./store.js";

/** A compiled form: what it serves, and what it was made of beside the model. */
export interface Entry extends Omit<CompiledArtifact, "bytes"> {
  readonly file: string;
  /** SHA-256 of files beside the model by name. */
  readonly files: Readonly<Record<string, string>>;
}

interface Index {
  readonly face: ModelFace;
  /** The last used is last. */
  readonly entries: readonly Entry[];
}

/** Most compiled forms of a model that are kept. */
const MOST = 16;
/** Of a SHA-256 in hex, which an index begins with. */
const DIGITS = 64;

export class Library {
  private readonly store: Store;
  private readonly key: string;
  private index: Index | undefined;

  /** @param key equal for the same model, options and version */
  constructor(store: Store, key: string) {
    this.store = store;
    this.key = key;
  }

  private get indexName(): string {
    return `${this.key}/index.json`;
  }

  private async readIndex(): Promise<Index | undefined> {
    const bytes = await this.store.read(this.indexName);
    if (!bytes) return undefined;
    const json = bytes.subarray(DIGITS);
    // Cut short by a crash, or damaged: as if there were none.
    if (new TextDecoder().decode(bytes.subarray(0, DIGITS)) !== (await hashOf(json))) return undefined;
    return JSON.parse(new TextDecoder().decode(json)) as Index;
  }

  private async writeIndex(index: Index): Promise<void> {
    this.index = index;
    const json = new TextEncoder().encode(JSON.stringify(index));
    await this.store.write(this.indexName, concatBytes([new TextEncoder().encode(await hashOf(json)), json]));
  }

  /** What is known of the model; undefined where it has not been compiled yet. */
  async face(): Promise<ModelFace | undefined> {
    this.index = await this.readIndex();
    return this.index?.face;
  }

  /** Compiled forms, the last used first. */
  get entries(): readonly Entry[] {
    return [...(this.index?.entries ?? [])].reverse();
  }

  /** What `load` takes; undefined where somebody removed it. */
  open({ file }: Entry): Promise<BinarySource | undefined> {
    return this.store.open(`${this.key}/${file}`);
  }

  /** Remembers the model, and a compiled form of it. */
  async add(face: ModelFace, made?: CompiledArtifact & Pick<Entry, "files">): Promise<void> {
    // Another process may have added to it meanwhile.
    const before = (await this.readIndex())?.entries ?? [];
    if (!made) return this.writeIndex({ face, entries: before });
    const { bytes, terms, outputs, files } = made;
    const file = `${await hashOf(bytes)}.wasm`;
    await this.store.write(`${this.key}/${file}`, bytes);
    const entries = [...before.filter((e) => e.file !== file), { file, terms, outputs, files }];
    await this.writeIndex({ face, entries: entries.slice(-MOST) });
    for (const gone of entries.slice(0, -MOST)) await this.store.remove(`${this.key}/${gone.file}`);
  }

  /** Removes a compiled form that can't be loaded. */
  async drop(entry: Entry): Promise<void> {
    const index = (await this.readIndex()) ?? this.index;
    if (index) await this.writeIndex({ ...index, entries: index.entries.filter((e) => e.file !== entry.file) });
    await this.store.remove(`${this.key}/${entry.file}`);
  }
}
