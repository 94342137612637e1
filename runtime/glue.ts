/** The typed glue beside an artefact: `NAME.js` loads it, `NAME.d.ts` says what goes in and comes out. */

import { arrayTypes, type EntryInfo, type Manifest, type TensorInfo } from "./format.js";
import { signature } from "./tensor.js";

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
  const { entries, training } = manifest;
  const fit = training?.fit;
  const main = fit ? (fit.predict === null ? undefined : entries[fit.predict]) : Object.values(entries)[0];
  const base = fit ? "TrainingSession" : "Session";
  const own = new Set(fit ? [fit.step, fit.evaluate, fit.predict] : []);
  // The one entry of an inference model is what `run` runs.
  const others = Object.keys(entries).filter((name) => !own.has(name) && !(name === "main" && !fit));
  const methods = others.map((name) => methodOf(name, entries[name]!)).join("");
  const scalars = fit ? [fit.loss, ...fit.metrics] : [];
  const more = fit ? entries[fit.step]!.outputs.filter((o) => !scalars.includes(o.name)) : [];
  const step = more.length > 0 ? `{ step(feeds: Batch): Promise<Measures & {${fields(more, false)}\n}> } & ` : "";
  const types = [main ? "Inputs, Outputs" : "Feeds, Results", fit ? "Batch" : ""].filter(Boolean).join(", ");
  const imports = [
    base,
    "LoadOptions",
    others.length > 0 && "RunOptions",
    !main && "Feeds",
    !main && "Results",
    step && "Measures",
  ];
  return `// Written by ${oneLine(manifest.producer)}.
import type { ${imports.filter(Boolean).join(", ")} } from "wasmith/runtime";

/** A tensor with its shape. A bare array of its data does where the shape follows from its length. */
interface Tensor<D extends string, A, S extends readonly number[]> {
  readonly dtype: D;
  readonly shape: S;
  readonly data: A;
}
${main ? interfaces(main) : ""}
${fit ? `export interface Batch {${fields(entries[fit.step]!.inputs, true)}\n}\n` : ""}${methods && `\n/** A method for each entry. Outputs without axes are numbers. */\nexport interface Entries {${methods}\n}\n\n`}export type Model = ${step}${base}<${types}>${methods && " & Entries"};

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

function methodOf(name: string, { inputs, outputs }: EntryInfo): string {
  const numbers = outputs.map((t) => t.shape.length === 0);
  return `\n  ${name}(feeds${inputs.length === 0 ? "?" : ""}: {${fields(inputs, true)}\n  }, options?: Omit<RunOptions, "entry">): Promise<{${fields(outputs, false, numbers)}\n  }>;`;
}

function fields(tensors: readonly TensorInfo[], bare: boolean, numbers: readonly boolean[] = []): string {
  return tensors
    .map((t, i) => {
      const array = arrayTypes[t.dtype].name;
      const shape = t.shape.map((d) => (typeof d === "number" ? d : "number")).join(", ");
      const type = `Tensor<${JSON.stringify(t.dtype)}, ${array}, readonly [${shape}]>`;
      const full = numbers[i] ? "number" : `${type}${bare ? ` | ${array}` : ""}`;
      return `\n  /** ${oneLine(signature(t)).replaceAll("*/", "*\\/")} */\n  readonly ${JSON.stringify(t.name)}: ${full};`;
    })
    .join("");
}

function oneLine(value: string): string {
  return value.replace(/[\r\n\u2028\u2029]+/g, " ");
}
