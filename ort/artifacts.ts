/** The artefacts that a session runs: the one for the feeds at hand is found, loaded or compiled. */

import { serves, type Terms } from "../compiler/late/binding.js";
import type { FlatFeeds, ModelFeeds } from "../compiler/late/feeds.js";
import { ModelError } from "../ir/errors.js";
import type { Specialization } from "../runtime/format.js";
import { load, type Session } from "../runtime/index.js";
import type { BinarySource } from "../runtime/read.js";
import { type CompileWhere, compileModel } from "./compile.js";
import type { CompiledArtifact, CompiledModel, ModelFace } from "./face.js";
import { hashOf } from "./hash.js";
import type { Entry, Library } from "./library.js";
import type { ModelSource } from "./model-file.js";
import type { CompileJob } from "./ort-compiler.js";

/** A loaded artefact. */
export interface Ready {
  readonly session: Session;
  /** Feeds that it serves. */
  readonly terms: Terms;
  readonly outputs: Specialization["outputs"];
}

export interface ArtifactsOptions extends Pick<CompileJob, "external" | "dims" | "variants"> {
  readonly source: ModelSource;
  /** SHA-256 of the model's file, where what is compiled is kept. */
  readonly digest: string | undefined;
  /** SHA-256 of a file beside the model. */
  readonly digestOf: (name: string) => Promise<string | undefined>;
  readonly library: Library;
  readonly where: CompileWhere;
  readonly threads: number;
  /** Most artefacts that are loaded at a time. */
  readonly most: number;
}

interface Loaded extends Ready {
  /** Users that have not released it. */
  users: number;
}

function held(loaded: Loaded): Loaded {
  loaded.users++;
  return loaded;
}

export class Artifacts {
  private readonly options: ArtifactsOptions;
  /** The last used is last. */
  private loaded: readonly Loaded[] = [];
  private queue: Promise<unknown> = Promise.resolve();
  private isDisposed = false;

  constructor(options: ArtifactsOptions) {
    this.options = options;
  }

  /**
   * Finds what was kept of the model, or compiles it for whatever feeds may come, if it is such a program.
   * @throws ModelError where the model can't be compiled for any
   */
  async prepare(): Promise<ModelFace> {
    const { library } = this.options;
    const known = await library.face();
    const { entries } = library;
    // Nothing is kept of a model that feeds decide until there were some.
    if (known && entries.length === 0) return known;
    for (const entry of entries) if (await this.restore(entry)) return known!;
    const { face, files, artifact } = await this.compile(undefined);
    if (artifact) await this.add(face, files, artifact);
    else await library.add(face);
    return face;
  }

  /**
   * Runs `use` with an artefact that serves the feeds.
   * @throws ModelError where the model can't be compiled for them
   */
  async with<T>(face: ModelFace, flat: FlatFeeds, feeds: ModelFeeds, use: (ready: Ready) => Promise<T>): Promise<T> {
    const ready = this.find(flat) ?? (await this.make(face, flat, feeds));
    try {
      return await use(ready);
    } finally {
      ready.users--;
      this.disposeUnused();
    }
  }

  dispose(): void {
    this.isDisposed = true;
    for (const { session } of this.loaded) session.dispose();
    this.loaded = [];
  }

  /** A loaded artefact that serves the feeds; it has one more user now. */
  private find(flat: FlatFeeds): Loaded | undefined {
    if (this.isDisposed)
      throw new ModelError({ where: "session", message: "it was released", hint: "create another one" });
    const found = this.loaded.findLast(({ terms }) => serves(terms, flat));
    if (!found) return undefined;
    if (found !== this.loaded.at(-1)) this.loaded = [...this.loaded.filter((l) => l !== found), found];
    found.users++;
    return found;
  }

  /** One at a time: what is being compiled may serve these feeds as well. */
  private make(face: ModelFace, flat: FlatFeeds, feeds: ModelFeeds): Promise<Loaded> {
    const made = this.queue.then(async () => {
      const known = this.find(flat);
      if (known) return known;
      for (const entry of this.options.library.entries) {
        const restored = serves(entry.terms, flat) ? await this.restore(entry) : undefined;
        if (restored) return held(restored);
      }
      const { files, artifact } = await this.compile(feeds);
      return held(await this.add(face, files, artifact!));
    });
    this.queue = made.catch(() => {});
    return made;
  }

  // ------------------------------------------------------------------------------------------------ making

  private async compile(feeds: ModelFeeds | undefined): Promise<CompiledModel> {
    const { source, digest, where, external, dims, variants } = this.options;
    const model = await source.bytes();
    if (digest !== undefined && source.path !== undefined && (await hashOf(model)) !== digest)
      throw new ModelError({
        where: source.path,
        message: "the file has changed since the session was created",
        hint: "create another session",
      });
    return compileModel({ model, path: source.path, external, dims, variants, feeds }, where);
  }

  private async add(face: ModelFace, names: readonly string[], artifact: CompiledArtifact): Promise<Loaded> {
    const digests = await Promise.all(names.map(async (name) => [name, await this.options.digestOf(name)] as const));
    const files = Object.fromEntries(digests.map(([name, digest]) => [name, digest ?? ""]));
    await this.timed("store", () => this.options.library.add(face, { ...artifact, files }));
    return this.load(artifact.bytes, artifact);
  }

  /** Loads what was kept; undefined where it is of other weights, gone, or damaged. */
  private async restore(entry: Entry): Promise<Loaded | undefined> {
    const { library, digestOf } = this.options;
    for (const [name, digest] of Object.entries(entry.files)) if ((await digestOf(name)) !== digest) return undefined;
    const source = await library.open(entry);
    if (source === undefined) return undefined;
    try {
      return await this.load(source, entry);
    } catch (error) {
      if ((error as Error).name !== "ModelError") throw error;
      await library.drop(entry);
      return undefined;
    }
  }

  private async load(source: BinarySource, { terms, outputs }: Omit<Ready, "session">): Promise<Loaded> {
    const { threads } = this.options;
    const session = await this.timed("load", () => load(source, { threads }));
    const made: Loaded = { session, terms, outputs, users: 0 };
    this.loaded = [...this.loaded, made];
    this.disposeUnused(made);
    if (this.isDisposed) session.dispose();
    return made;
  }

  /** Lets go of the artefacts that are too many, not used for longest first. */
  private disposeUnused(kept?: Loaded): void {
    let surplus = this.loaded.length - this.options.most;
    if (surplus <= 0) return;
    this.loaded = this.loaded.filter((l) => {
      if (surplus <= 0 || l.users > 0 || l === kept) return true;
      surplus--;
      l.session.dispose();
      return false;
    });
  }

  private async timed<T>(stage: string, work: () => Promise<T>): Promise<T> {
    const began = performance.now();
    const result = await work();
    this.options.where.onProgress?.({ stage, milliseconds: performance.now() - began });
    return result;
  }
}
