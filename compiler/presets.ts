/** What to make for which kind of host. */

import type { VariantId } from "../runtime/format.js";
import type { WriteOptions } from "./write.js";

export interface Preset {
  /** In the order of their speed, least first. */
  readonly variants: readonly VariantId[];
  /** How it is written, unless it is said otherwise. */
  readonly write: Pick<WriteOptions, "singleFile" | "importModule">;
}

export const presets = {
  /** Browsers: with and without relaxed SIMD, and shared memory only where the page is isolated. Only one variant is fetched. */
  web: { variants: ["simd128", "simd128-threads", "relaxed", "relaxed-threads"], write: {} },
  /** Node, Bun and Deno always have shared memory; variants with threads run on one as well, as fast. */
  node: { variants: ["simd128-threads", "relaxed-threads"], write: {} },
  /** Isolates of V8 at the edge: no threads, nothing is compiled at run time and nothing lies beside the module. */
  edge: { variants: ["relaxed"], write: { singleFile: true, importModule: true } },
} as const satisfies { readonly [name: string]: Preset };

export type PresetName = keyof typeof presets;

export const presetNames = Object.keys(presets) as readonly PresetName[];

/** The variants of a preset, or of those that give the same bits everywhere. */
export function presetVariants(name: PresetName, deterministic: boolean): readonly VariantId[] {
  const { variants } = presets[name];
  return deterministic ? [...new Set(variants.map((id) => id.replace("relaxed", "simd128") as VariantId))] : variants;
}
