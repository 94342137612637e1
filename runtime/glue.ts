/** The typed glue beside an artefact: `NAME.js` loads it, `NAME.d.ts` says what goes in and comes out. */

import { arrayTypes, type EntryInfo, type Manifest, type TensorInfo } from "./format.js";
import { signature } from "./tensor.js";

/** How glue reaches the runtime and the artefact. */
export interface GlueOptions {
  /** Specifier of the runtime. Default: the package's, which bundlers and Node resolve. */
  readonly runtime?: string | undefined;
  /** The artefact is one file. Default false. */
  readonly singleFile?: boolean | undefined;
  /** The module is imported compiled, as hosts demand that compile none at run time. Only of a single file. Default false. */
  readonly importModule?: boolean | undefined;
}

/**
 * Bundlers take along the files that are named by `new URL("./literal", import.meta.url)`, and rename them; so each stands there, and the
 * runtime is told where it has come to lie.
 */
export function glueModule(manifest: Manifest, options: GlueOptions = {}): string {
  const { runtime = "wasmith/runtime", singleFile, importModule } = options;
  const { producer, variants, weights } = manifest;
  const named = (file: string): string => JSON.stringify(`./${encodeURIComponent(file)}`);
  const urlOf = (file: string): string => `new URL(${named(file)}, import.meta.url)`;
  const first = variants[0]!.file;
  const files = [
    ...variants.map(({ id, file }) => `  ${JSON.stringify(id)}: ${urlOf(file)},\n`),
    `  weights: ${urlOf(weights.file)},\n`,
  ];
  const source = importModule ? "module" : singleFile ? urlOf(first) : "{ files }";
  const before = importModule
    ? `import module from ${JSON.stringify(`./${first}?module`)};\n`
    : singleFile
      ? ""
      : `\nconst files = {\n${files.join("")}};\n`;
  return `// Written by ${oneLine(producer)}. Loads the artefact that lies beside this file.
import { load as loadArtifact } from ${JSON.stringify(runtime)};
${before}
export function load(options) {
  return loadArtifact(${source}, options);
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
