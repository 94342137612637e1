/** Writes artefacts: the compiler's half of the format, and the inverse of `container.ts`. Not part of the runtime's bundle. */
import { sha256, toHex } from "./container.js";
import { type EncryptedFile, encrypted, type ModelKey, moduleLabel } from "./encryption.js";
import { InternalError, ModelError, modelError, type Problem } from "./errors.js";
import {
  type ArtifactParts,
  type ByteParts,
  formatVersion,
  type Manifest,
  type ManifestDraft,
  sections,
  type VariantId,
  variantIds,
  weightsPart,
} from "./format.js";
import { type GlueOptions, glueDeclarations, glueModule } from "./glue.js";
import { dataStart } from "./safetensors.js";
import { type Bytes, concatBytes } from "./stream.js";
import { validateManifest } from "./validate.js";

/** Longest name in UTF-8: what lies beside the module appends 38 bytes to it, and file systems end at 255. */
const maxNameBytes = 200;

/** Why files can't be called so, if they can't. */
export function nameProblem(name: string): Problem | undefined {
  const shown = JSON.stringify(String(name).slice(0, 40));
  if (typeof name !== "string" || !/^[^/\\:\p{Cc}\p{Cs}]+$/u.test(name)) {
    const hint = "choose one without / \\ : and control characters";
    return { where: "name", message: `${shown} can't be a file name`, hint };
  }
  const bytes = text(name).length;
  if (bytes <= maxNameBytes) return undefined;
  return { where: "name", message: `${shown}… has ${bytes} bytes`, hint: `choose one of at most ${maxNameBytes}` };
}

/** Characters of a hash that make a file name its own. */
const hashDigits = 16;

/** Whether a file beside `NAME.wasm` is one that an artefact of this name has, or had before it was replaced. */
export function isPartOf(name: string, file: string): boolean {
  if (!file.startsWith(`${name}.`)) return false;
  const [hash = "", ...rest] = file.slice(name.length + 1).split(".");
  const kinds = ["weights", ...variantIds.map((id) => `${id}.wasm`)];
  return hash.length === hashDigits && /^[0-9a-f]*$/.test(hash) && kinds.includes(rest.join("."));
}

/**
 * Completes a manifest: versions, file names, hashes. `wasm` holds modules as the compiler emitted them.
 *
 * The first module is `NAME.wasm`. Names of the files that it needs contain hashes, so that those of two versions of an artefact lie side
 * by side while one replaces the other.
 */
export async function sealArtifact(
  draft: ManifestDraft,
  wasm: { readonly [id in VariantId]?: Uint8Array },
  weights: Uint8Array | ByteParts,
): Promise<ArtifactParts> {
  const { producer, name, memory, state, entries, training, sources, specialization } = draft;
  const problem = nameProblem(name);
  if (problem) throw new ModelError(problem);
  const ids = variantIds.filter((id) => wasm[id]);
  const hashes = await Promise.all(ids.map((id) => hashOf(wasm[id]!)));
  const partHashes = await hashParts("parts" in weights ? weights.parts() : [weights], weights.length);
  const weightsHash = await hashOf(text(partHashes.join()));
  // Every module holds the manifest, so the names of the others are of all that it says.
  const identity = await hashOf(text(JSON.stringify([draft, hashes, weightsHash])));
  const named = (hash: string, kind: string): string => `${name}.${hash.slice(0, hashDigits)}.${kind}`;
  const variants = ids.map((id, i) => ({
    id,
    file: i === 0 ? `${name}.wasm` : named(identity, `${id}.wasm`),
    hash: hashes[i]!,
  }));
  const manifest: Manifest = {
    format: formatVersion,
    producer,
    name,
    variants,
    weights: { file: named(weightsHash, "weights"), bytes: weights.length, hashes: partHashes, sources },
    memory,
    state,
    entries,
    training,
    ...(specialization ? { specialization } : {}),
  };
  const sealed = { manifest: validateManifest(manifest), wasm };
  if (!("parts" in weights)) return { ...sealed, weights };
  let whole: Uint8Array | undefined;
  return {
    ...sealed,
    weightParts: weights,
    get weights() {
      whole ??= joined(weights);
      return whole;
    },
  };
}

/** All parts in one array. */
function joined(bytes: ByteParts): Bytes {
  const out = new Uint8Array(bytes.length);
  let at = 0;
  for (const part of bytes.parts()) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/**
 * The files of an artefact by name: weights, the typed glue, one module per variant. The first module is the last file: whoever finds
 * it finds all others. Equal parts give equal bytes.
 */
export async function encodeFiles(artifact: ArtifactParts): Promise<Map<string, Uint8Array>> {
  return new Map([[artifact.manifest.weights.file, artifact.weights], ...(await encodeModules(artifact))]);
}

/** The typed glue. */
export function encodeGlue({ manifest }: ArtifactParts, options?: GlueOptions): Map<string, Uint8Array> {
  return new Map([
    [`${manifest.name}.d.ts`, text(glueDeclarations(manifest))],
    [`${manifest.name}.js`, text(glueModule(manifest, options))],
  ]);
}

/** Those without the weights. */
export async function encodeModules(artifact: ArtifactParts, glue?: GlueOptions): Promise<Map<string, Uint8Array>> {
  const { manifest } = artifact;
  const section = await encodeManifest(manifest);
  const files = encodeGlue(artifact, glue);
  for (const { id, file } of [...manifest.variants].reverse()) {
    files.set(file, moduleWith([custom(sections.variant, text(id)), section], moduleOf(artifact, id)));
  }
  return files;
}

/**
 * The files of an artefact, encrypted: weights, modules. There is no glue, which would tell inputs and outputs, and names of files say
 * nothing of what they hold.
 */
export async function encryptFiles(artifact: ArtifactParts, key: ModelKey): Promise<Map<string, EncryptedFile>> {
  const unnamed = withRandomNames(artifact);
  const { file } = unnamed.manifest.weights;
  const files = new Map([[file, await encrypted(weightsOf(unnamed), key, file, modelError)]]);
  for (const [name, bytes] of await encodeModules(unnamed))
    if (name.endsWith(".wasm")) files.set(name, await encrypted(bytes, key, moduleLabel, modelError));
  return files;
}

/** The bytes of an encrypted file. */
export async function gather({ length, parts }: EncryptedFile): Promise<Bytes> {
  const bytes = new Uint8Array(length);
  let at = 0;
  for await (const part of parts()) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The whole artefact as one encrypted file. */
export async function encryptSingleFile(artifact: ArtifactParts, key: ModelKey): Promise<EncryptedFile> {
  return encrypted(await encodeSingleFile(withRandomNames(artifact)), key, moduleLabel, modelError);
}

/** Weights in parts where there are such. */
export const weightsOf = (artifact: ArtifactParts): Uint8Array | ByteParts => artifact.weightParts ?? artifact.weights;

/** The same with random digits for the hashes in names of files: who has a model could tell by its hash that this is it. */
function withRandomNames(artifact: ArtifactParts): ArtifactParts {
  const { manifest, wasm, weightParts } = artifact;
  const { name, variants, weights } = manifest;
  const digits = toHex(crypto.getRandomValues(new Uint8Array(hashDigits / 2)));
  return {
    manifest: {
      ...manifest,
      variants: variants.map((v, i) => (i === 0 ? v : { ...v, file: `${name}.${digits}.${v.id}.wasm` })),
      weights: { ...weights, file: `${name}.${digits}.weights` },
    },
    wasm,
    ...(weightParts ? { weightParts } : {}),
    get weights() {
      return artifact.weights;
    },
  };
}

/** The whole artefact as one module. */
export async function encodeSingleFile(artifact: ArtifactParts): Promise<Bytes> {
  const { manifest } = artifact;
  if (manifest.weights.bytes >= 2 ** 32)
    throw new ModelError({
      where: "single file",
      message: `${manifest.weights.bytes} bytes of weights do not fit into a section of a module, which ends at 4 GiB`,
      hint: "write the weights beside the module",
    });
  const [first, ...others] = manifest.variants;
  const head = [
    custom(sections.whole, new Uint8Array()),
    custom(sections.variant, text(first!.id)),
    await encodeManifest(manifest),
  ];
  return concatBytes([
    moduleWith(head, moduleOf(artifact, first!.id)),
    ...others.map(({ id }) => custom(sections.module + id, moduleOf(artifact, id))),
    custom(sections.weights, artifact.weights),
  ]);
}

/** A module with sections at its beginning. */
function moduleWith(head: readonly Uint8Array[], module: Uint8Array): Bytes {
  const [magic, rest] = [module.subarray(0, 8), module.subarray(8)];
  return concatBytes([magic, ...head, rest]);
}

async function encodeManifest(manifest: Manifest): Promise<Bytes> {
  const json = text(JSON.stringify(manifest));
  return custom(sections.manifest, concatBytes([await digestOf(json), json]));
}

/** Identity of an artefact: SHA-256 in hex of its manifest, which holds the hashes of all other parts. */
export async function contentHash(manifest: Manifest): Promise<string> {
  return hashOf(text(JSON.stringify(manifest)));
}

function moduleOf(artifact: ArtifactParts, id: VariantId): Uint8Array {
  const wasm = artifact.wasm[id];
  if (!wasm) throw new InternalError(`the manifest lists variant "${id}", the artefact does not hold it`);
  return wasm;
}

async function digestOf(bytes: Uint8Array): Promise<Bytes> {
  const digest = await sha256(bytes);
  if (!digest) throw modelError("platform", "WebCrypto is missing", "compile on https, localhost or in Node");
  return digest;
}

/** Whether a weights file is the one that the manifest describes. */
export async function areWeightsOf({ weights: { bytes, hashes } }: Manifest, file: Uint8Array): Promise<boolean> {
  return file.length === bytes && String(await hashParts([file], bytes)) === String(hashes);
}

/** The hashes that a manifest holds of a weights file, which comes in parts of any lengths. */
async function hashParts(parts: Iterable<Uint8Array>, length: number): Promise<string[]> {
  const hashes: string[] = [];
  // The first 8 bytes tell how long the header is.
  let target = new Uint8Array(8);
  let [at, isHeaderKnown] = [0, false];
  for (const part of parts) {
    for (let from = 0; from < part.length; ) {
      const used = part.subarray(from, from + target.length - at);
      target.set(used, at);
      at += used.length;
      from += used.length;
      if (at < target.length) continue;
      if (!isHeaderKnown) {
        isHeaderKnown = true;
        const start = Math.min(dataStart(target), length);
        target = concatBytes([target, new Uint8Array(start - at)]);
        if (at < start) continue;
      }
      hashes.push(await hashOf(target));
      if (target.length !== weightsPart) target = new Uint8Array(weightsPart);
      at = 0;
    }
  }
  if (at > 0) hashes.push(await hashOf(target.subarray(0, at)));
  return hashes;
}

async function hashOf(bytes: Uint8Array): Promise<string> {
  return toHex(await digestOf(bytes));
}

const text = (value: string): Bytes => new TextEncoder().encode(value) as Bytes;

function custom(name: string, payload: Uint8Array): Bytes {
  const label = text(name);
  const body = [leb(label.length), label, payload];
  return concatBytes([Uint8Array.of(0), leb(body.reduce((n, b) => n + b.length, 0)), ...body]);
}

function leb(value: number): Bytes {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Uint8Array.from(bytes);
}
