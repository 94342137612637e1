/** What may be given to `importOnnx`: the file, and its options. */

import type { Problem } from "../../ir/errors.js";
import { choices } from "../../ir/names.js";
import {
  aBoolean,
  aFunction,
  anObject,
  aString,
  atLeast,
  type Check,
  type Checks,
  describe,
  either,
  listOf,
  oneOf,
  recordOf,
  seconds,
  sizeOrRange,
  tensorProblem,
} from "../options.js";
import { type ImportOptions, legalName, NO_NAME, STARTS_EMPTY } from "./inputs.js";
import type { OnnxModel, OnnxType } from "./model.js";

const aFile: Check = {
  expected: "bytes (an ArrayBuffer or Uint8Array)",
  fits: (v) => v instanceof ArrayBuffer || ArrayBuffer.isView(v),
};
const aPath: Check = { expected: "a path or file URL", fits: (v) => typeof v === "string" || v instanceof URL };

export const importChecks: Checks<ImportOptions> = {
  limits: anObject,
  path: aPath,
  externalData: either(aFunction, recordOf(aFile)),
  maxExternalBytes: atLeast(0),
  initializersAreInputs: aBoolean,
  maxSparseBytes: atLeast(0),
  transfer: aBoolean,
  dims: recordOf(sizeOrRange),
  shapes: recordOf(listOf(either(atLeast(0), aString, oneOf(null)))),
  values: recordOf(anObject),
  structures: recordOf(either(atLeast(0), aBoolean)),
  overrides: listOf(aString),
  outputs: listOf(aString),
  feeds: anObject,
  maxUnknownSize: atLeast(1),
  maxNodes: atLeast(1),
  maxSeconds: seconds,
};

/** Options of the model's own names. */
export type NamedOptions = Pick<ImportOptions, "dims" | "shapes" | "values" | "structures" | "overrides" | "outputs">;

/** Calls `visit` with the sizes of the type's tensors. */
function visitShapes(type: OnnxType | undefined, visit: (shape: readonly (number | string | null)[]) => void): void {
  if (type?.kind === "tensor") visit(type.shape ?? []);
  else if (type?.kind === "sequence" || type?.kind === "optional") visitShapes(type.element, visit);
}

/** Names of sizes that options may speak of: those that the file names, and those of its inputs' axes. */
function dimNames({ graph }: OnnxModel, { shapes = {} }: NamedOptions): ReadonlySet<string> {
  const names = new Set<string>();
  const add = (d: number | string | null) => {
    if (typeof d === "string" && !NO_NAME.test(d)) names.add(d);
  };
  const stated = (name: string, type: OnnxType | undefined): OnnxType | undefined =>
    Object.hasOwn(shapes, name) ? { kind: "tensor", dtype: undefined, shape: shapes[name]! } : type;
  for (const { name, type } of [...graph.inputs, ...(graph.overridable ?? [])])
    visitShapes(stated(name, type), (shape) => {
      for (const [axis, d] of shape.entries())
        names.add(typeof d === "string" && !NO_NAME.test(d) ? d : `${name}_${axis}`);
    });
  for (const type of [...graph.outputs.map((o) => o.type), ...graph.valueInfo.values()])
    visitShapes(type, (shape) => {
      shape.forEach(add);
    });
  for (const name of [...names]) names.add(legalName(name));
  return names;
}

/** Names in options that the model does not have, and sizes that leave nothing of it. */
export function nameProblems(model: OnnxModel, options: NamedOptions): readonly Problem[] {
  const inputs = [...model.graph.inputs, ...(model.graph.overridable ?? [])].map((i) => i.name);
  const nested = model.graph.inputs.some((i) => i.type?.kind === "sequence" || i.type?.kind === "optional");
  const problems: Problem[] = [];
  for (const key of ["shapes", "values", "structures"] as const) {
    for (const name of Object.keys(options[key] ?? {})) {
      // Items of sequences are inputs of their own.
      if (inputs.includes(name) || (nested && inputs.some((i) => name.startsWith(`${i}.`)))) continue;
      const hint = choices(name, inputs, "its inputs are");
      problems.push({ where: `option ${key}`, message: `the model has no input ${describe(name)}`, hint });
    }
  }
  for (const [name, value] of Object.entries(options.values ?? {})) {
    const problem = tensorProblem(value);
    if (problem) problems.push({ ...problem, where: `option values, input ${describe(name)}` });
  }
  const initializers = (model.graph.overridable ?? []).map((i) => i.name);
  for (const name of options.overrides ?? [])
    if (!inputs.includes(name))
      problems.push({
        where: "option overrides",
        message: `the file lists no initializer ${describe(name)} as an input`,
        hint: choices(name, initializers, "it lists"),
      });
  const { graph } = model;
  const values = new Set([...graph.nodes.flatMap((n) => n.outputs), ...inputs, ...graph.initializers.keys()]);
  for (const name of options.outputs ?? [])
    if (name === "" || !values.has(name))
      problems.push({
        where: "option outputs",
        message: `no node of the model gives ${describe(name)}`,
        hint: choices(name, [...values], "there are"),
      });
  const known = dimNames(model, options);
  for (const name of Object.keys(options.dims ?? {})) {
    if (known.has(name) || (nested && inputs.some((i) => name.startsWith(`${i}.`)))) continue;
    const hint = choices(name, [...known], "its dims are");
    problems.push({ where: "option dims", message: `the model has no dim ${describe(name)}`, hint });
  }
  for (const [name, size] of Object.entries(options.dims ?? {})) {
    if ((typeof size === "number" ? size : size[1]) > 0 || STARTS_EMPTY.test(name)) continue;
    problems.push({
      where: "option dims",
      message: `${describe(name)} is 0: nothing is left to compute`,
      hint: "give a size or a range from 1 on",
    });
  }
  return problems;
}
