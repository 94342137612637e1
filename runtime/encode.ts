/** Writes artefacts: the compiler's half of the format, and the inverse of `container.ts`. Not part of the runtime's bundle. */
import { type Bytes, concatBytes, sha256, toHex } from "./container.js";
import { InternalError, modelError } from "./errors.js";
import {
  type ArtifactParts,
  formatVersion,
  type Manifest,
  type ManifestDraft,
  sections,
  type VariantId,
  variantIds,
} from "./format.js";
import { glueDeclarations, glueModule } from "./glue.js";
import { validateManifest } from "./validate.js";

/** Completes a manifest: versions, file names, hashes. `wasm` holds modules as the compiler emitted them. */
export async function sealArtifact(
  draft: ManifestDraft,
  wasm: { readonly [id in VariantId]?: Uint8Array },
  weights: Uint8Array,
): Promise<ArtifactParts> {
  if (!/^[^/\\:\0]+$/.test(draft.name)) {
    throw modelError("name", `${JSON.stringify(draft.name)} can't be a file name`, "choose one without / \\ and :");
  }
  const ids = variantIds.filter((id) => wasm[id]);
  const variants = await Promise.all(
    ids.map(async (id, i) => ({
      id,
      file: i === 0 ? `${draft.name}.wasm` : `${draft.name}.${id}.wasm`,
      hash: await hashOf(wasm[id]!),
    })),
  );
  const { producer, name, memory, state, entries, training, sources } = draft;
  const manifest: Manifest = {
    format: formatVersion,
    producer,
    name,
    variants,
    weights: { file: `${name}.weights`, bytes: weights.length, hash: await hashOf(weights), sources },
    memory,
    state,
    entries,
    training,
  };
  return { manifest: validateManifest(manifest), wasm, weights };
}

/**
 * The files of an artefact by name: one module per variant, weights, and the typed glue.
 * Equal parts give equal bytes.
 */
export async function encodeFiles(artifact: ArtifactParts): Promise<Map<string, Uint8Array>> {
  const { manifest } = artifact;
  const section = await encodeManifest(manifest);
  const files = new Map<string, Uint8Array>();
  for (const { id, file } of manifest.variants) {
    files.set(file, concatBytes([moduleOf(artifact, id), custom(sections.variant, text(id)), section]));
  }
  files.set(manifest.weights.file, artifact.weights);
  files.set(`${manifest.name}.js`, text(glueModule(manifest)));
  files.set(`${manifest.name}.d.ts`, text(glueDeclarations(manifest)));
  return files;
}

/** The whole artefact as one module. */
export async function encodeSingleFile(artifact: ArtifactParts): Promise<Bytes> {
  const { manifest } = artifact;
  const [first, ...others] = manifest.variants;
  return concatBytes([
    moduleOf(artifact, first!.id),
    ...others.map(({ id }) => custom(sections.module + id, moduleOf(artifact, id))),
    custom(sections.weights, artifact.weights),
    custom(sections.variant, text(first!.id)),
    await encodeManifest(manifest),
  ]);
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
