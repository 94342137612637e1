/** What compiles a model for a session: a module of its own, which is loaded where nothing compiled is there, most often by a worker. */

import { termsOf } from "../compiler/late/binding.js";
import { compileAhead, flattenFor, type LateOptions, specialize } from "../compiler/late/compile-for.js";
import type { ModelFeeds } from "../compiler/late/feeds.js";
import { type ExternalData, externalDataIn } from "../compiler/onnx/external-data.js";
import { readExternalDataBeside } from "../compiler/onnx/external-data-node.js";
import { nameProblems } from "../compiler/onnx/import-options.js";
import { type OnnxModel, readOnnx } from "../compiler/onnx/model.js";
import { ModelError } from "../ir/errors.js";
import { encodeSingleFile } from "../runtime/encode.js";
import type { VariantId } from "../runtime/format.js";
import type { CompiledModel, ModelFace } from "./face.js";

/** What is to be compiled: plain data, which can be sent to a worker. */
export interface CompileJob {
  /** The file; whoever gives it does not use it any more. */
  readonly model: Uint8Array;
  /** Its path in Node, beside which weights may lie. */
  readonly path: string | undefined;
  /** Files of weights that were given. */
  readonly external: Readonly<Record<string, Uint8Array>>;
  /** Sizes of named dimensions; names that the model does not have are left out. */
  readonly dims: Readonly<Record<string, number>>;
  readonly variants: readonly VariantId[];
  /** To compile for these; undefined: for all that may come. */
  readonly feeds: ModelFeeds | undefined;
}

/** @throws ModelError where the model can't be read, or compiled for the feeds */
export async function compileJob(
  job: CompileJob,
  onStage: (stage: string, milliseconds: number) => void,
): Promise<CompiledModel> {
  const files = new Set<string>();
  const began = performance.now();
  const model = readOnnx(job.model, { externalData: externalDataOf(job, files), transfer: true });
  onStage("import", performance.now() - began);
  const known = Object.entries(job.dims).filter(
    ([name, size]) => nameProblems(model, { dims: { [name]: size } }).length === 0,
  );
  const options: LateOptions = {
    dims: Object.fromEntries(known),
    variants: job.variants,
    onStage,
  };
  const { feeds } = job;
  const artifact = feeds
    ? await specialize(model, flattenFor(model, feeds, options), options)
    : await compileAhead(model, options);
  return {
    face: faceOf(model, options.dims),
    files: [...files],
    artifact: artifact && {
      bytes: await encodeSingleFile(artifact),
      terms: termsOf(artifact.manifest),
      outputs: artifact.manifest.specialization!.outputs,
    },
  };
}

/** Reads weights of what was given, and in Node of the model's folder; notes the files of the folder. */
function externalDataOf({ external, path }: CompileJob, files: Set<string>): ExternalData {
  const given = externalDataIn(external);
  const beside = path === undefined ? undefined : readExternalDataBeside(path);
  return (reference) => {
    if (Object.hasOwn(external, reference.location)) return given(reference);
    if (!beside)
      throw new ModelError({
        where: reference.where,
        message: `its data are in the file "${reference.location}", which was not given`,
        hint: `pass it with the option externalData: [{ path: ${JSON.stringify(reference.location)}, data: … }]`,
      });
    files.add(reference.location);
    return beside(reference);
  };
}

function faceOf({ graph }: OnnxModel, dims: LateOptions["dims"] = {}): ModelFace {
  const fixed = (info: OnnxModel["graph"]["inputs"][number]): typeof info =>
    info.type?.kind === "tensor" && info.type.shape
      ? {
          ...info,
          type: {
            ...info.type,
            shape: info.type.shape.map((d) => {
              const size = typeof d === "string" && Object.hasOwn(dims, d) ? dims[d] : d;
              return typeof size === "object" && size !== null ? d : (size as typeof d);
            }),
          },
        }
      : info;
  return {
    inputs: graph.inputs.map(fixed),
    outputs: graph.outputs.map(fixed),
    overridable: graph.overridable ?? [],
  };
}
