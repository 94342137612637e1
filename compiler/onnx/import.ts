/** `importOnnx`: reads a file, inlines its functions, and walks it with the importer, again where a size must be narrowed first. */

import { withinSeconds } from "../../ir/deadline.js";
import { ModelError } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import { checkOptions } from "../options.js";
import type { FileBytes } from "./file-bytes.js";
import { inlineFunctions } from "./functions.js";
import { importChecks, nameProblems } from "./import-options.js";
import { type ImportedModel, Importer, MAX_NODES } from "./importer.js";
import type { ImportOptions } from "./inputs.js";
import { type OnnxModel, readOnnx } from "./model.js";
import { NarrowDim, statedRanges } from "./narrow.js";

export type { ImportOptions } from "./inputs.js";

const MAX_SECONDS = 60;
const WORK = "importing the model";
/** Times that an import may start over. */
const MAX_RESTARTS = 8;

/**
 * Imports a model that is read already.
 * @throws ModelError listing ALL problems
 */
export function importModel(model: OnnxModel, options: ImportOptions = {}): ImportedModel {
  return withinSeconds(options.maxSeconds ?? MAX_SECONDS, WORK, () => importWithin(model, options));
}

function importWithin(model: OnnxModel, options: ImportOptions): ImportedModel {
  const maxNodes = options.maxNodes ?? MAX_NODES;
  const inlined = inlineFunctions(model, { maxNodes });
  const narrowed: Record<string, number | readonly [number, number]> = { ...statedRanges(model), ...options.dims };
  for (let restarts = 0; ; restarts++)
    try {
      return new Importer({ ...options, dims: narrowed }).import(inlined);
    } catch (error) {
      if (!(error instanceof NarrowDim)) throw error;
      const { dim } = error.size;
      if (restarts >= MAX_RESTARTS)
        throw new ModelError({
          message: `the dimension "${dim}" decides what the model does in more ways than can be told apart`,
          hint: `fix it with the option dims: { ${JSON.stringify(dim)}: … }`,
          needs: [error.size],
        });
      const to = options.feeds?.narrow(error.size, error.range) ?? error.range;
      narrowed[dim] = typeof to === "number" ? to : to[0] === to[1] ? to[0] : to;
    }
}

/**
 * Imports a `.onnx` file as a graph of the IR.
 * @param file its bytes
 * @throws ModelError listing ALL problems
 */
export function importOnnx(file: FileBytes, options: ImportOptions = {}): Graph {
  checkOptions("importOnnx", options, importChecks);
  return withinSeconds(options.maxSeconds ?? MAX_SECONDS, WORK, () => {
    const model = readOnnx(file, options);
    const problems = nameProblems(model, options);
    if (problems.length > 0) throw new ModelError(problems);
    return importModel(model, options).graph;
  });
}
