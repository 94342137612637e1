/** The typed glue beside an artefact: `NAME.js` loads it, `NAME.d.ts` says what goes in and comes out. */
import { signature } from "./feeds.js";
import { arrayTypes, type EntryInfo, type Manifest, type TensorInfo } from "./format.js";

export function glueModule(manifest: Manifest): string {
  return `// Written by ${oneLine(manifest.producer)}. Loads the artefact that lies beside this file.
import { load as loadArtifact } from "wasmith/runtime";

const url = new URL(${JSON.stringify(`./${encodeURIComponent(manifest.variants[0]!.file)}`)}, import.meta.url);

export function load(options) {
  return loadArtifact(url, options);
}
`;
}

export function glueDeclarations(manifest: Manifest): string {
  const training = manifest.training;
  const main = manifest.entries.main ?? (training?.predict ? manifest.entries[training.predict] : undefined);
  const base = training ? "TrainingSession" : "Session";
  return `// Written by ${oneLine(manifest.producer)}.
import type { ${training ? "TrainingSession" : "Session"}, LoadOptions } from "wasmith/runtime";

/** A tensor with its shape. A bare array of its data does where the shape follows from its length. */
interface Tensor<D extends string, A, S extends readonly number[]> {
  readonly dtype: D;
  readonly shape: S;
  readonly data: A;
}
${main ? interfaces(main) : ""}
${training ? `export interface Batch {${fields(manifest.entries[training.step]!.inputs, true)}\n}\n` : ""}
export type Model = ${base}<${[main ? "Inputs, Outputs" : "", training ? "Batch" : ""].filter(Boolean).join(", ")}>;

export declare function load(options?: LoadOptions): Promise<Model>;
`;
}

function interfaces(entry: EntryInfo): string {
  return `
export interface Inputs {${fields(entry.inputs, true)}
}

export interface Outputs {${fields(entry.outputs, false)}
}
`;
}

function fields(tensors: readonly TensorInfo[], bare: boolean): string {
  return tensors
    .map((t) => {
      const array = arrayTypes[t.dtype].name;
      const shape = t.shape.map((d) => (typeof d === "number" ? d : "number")).join(", ");
      const type = `Tensor<${JSON.stringify(t.dtype)}, ${array}, readonly [${shape}]>`;
      return `\n  /** ${oneLine(signature(t)).replaceAll("*/", "*\\/")} */\n  readonly ${JSON.stringify(t.name)}: ${type}${bare ? ` | ${array}` : ""};`;
    })
    .join("");
}

function oneLine(value: string): string {
  return value.replace(/[\r\n\u2028\u2029]+/g, " ");
}
