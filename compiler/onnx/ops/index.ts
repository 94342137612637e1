/** All op tables together, and the lookup of a node's row. */
import { describeNode } from "../attributes.js";
import type { ImportOp, OpRow } from "../context.js";
import type { OnnxNode } from "../model.js";
import { isStandardDomain, NEWEST_OPSET, type OnnxOpName, resolveOp } from "../schema.js";
import { attentions } from "./attention.js";
import { contraction } from "./contraction.js";
import { contrib, OPTIMIZER_OPS } from "./contrib/index.js";
import { control } from "./control.js";
import { conv } from "./conv.js";
import { dynamic } from "./dynamic.js";
import { elementwise } from "./elementwise.js";
import { image } from "./image.js";
import { indexing } from "./indexing.js";
import { loss } from "./loss.js";
import { misc, preview } from "./misc.js";
import { movement } from "./movement.js";
import { normalize } from "./normalize.js";
import { pool } from "./pool.js";
import { quantize } from "./quantize.js";
import { randoms } from "./random.js";
import { recurrent } from "./recurrent.js";
import { reduce } from "./reduce.js";
import { resizing } from "./resize.js";
import { regions } from "./roi-align.js";
import { sequences } from "./sequence.js";
import { shape } from "./shape.js";
import { signal } from "./signal.js";
import { text } from "./text.js";
import { training } from "./training.js";
import { trees } from "./trees.js";

const STRINGS: OpRow = {
  unsupported: "strings are not supported",
  hint: "process text before the model, and give it numbers",
};

const unsupported = {
  RegexFullMatch: STRINGS,
  StringConcat: STRINGS,
  StringNormalizer: STRINGS,
  StringSplit: STRINGS,
  ImageDecoder: {
    unsupported: "image files are not decoded",
    hint: "decode the image in the application (createImageBitmap, sharp …), and give the model its pixels",
  },
  MaxRoiPool: { unsupported: "the op is not supported", hint: "use RoiAlign with mode max" },
} as const satisfies Readonly<Record<string, OpRow>>;

const onnx = {
  ...unsupported,
  ...attentions,
  ...contraction,
  ...control,
  ...conv,
  ...dynamic,
  ...elementwise,
  ...image,
  ...indexing,
  ...loss,
  ...misc,
  ...movement,
  ...normalize,
  ...pool,
  ...quantize,
  ...randoms,
  ...recurrent,
  ...reduce,
  ...regions,
  ...resizing,
  ...sequences,
  ...shape,
  ...signal,
  ...text,
} satisfies { readonly [N in OnnxOpName]: OpRow };

/** All rows, by domain. */
export const DOMAIN_TABLES: { readonly [domain: string]: { readonly [op: string]: OpRow | undefined } } = {
  "": onnx,
  "ai.onnx.ml": trees,
  "ai.onnx.preview": preview,
  "ai.onnx.preview.training": training,
  "com.microsoft": contrib,
};

/** What a node needs that is not there. */
export interface UnsupportedUse {
  readonly domain: string;
  readonly op: string;
  readonly opset: number | undefined;
  readonly nodes: readonly string[];
  readonly reason: string;
  readonly hint: string;
}

export type FoundOp = { readonly row: ImportOp; readonly since: number } | { readonly use: UnsupportedUse };

const EXPORT_HINT =
  "export the model with a different opset, or replace the layer; wasmith inspect --coverage lists what works";

/** What to do about ops of a domain, by how its name begins. */
const DOMAIN_HINTS: readonly (readonly [string, string])[] = [
  [
    "com.microsoft.nchwc",
    "ONNX Runtime saved this file optimised for one processor; give the model as it was before, or save it with at most ORT_ENABLE_EXTENDED",
  ],
  [
    "com.ms.internal",
    "ONNX Runtime saved this file optimised for one processor; give the model as it was before, or save it with at most ORT_ENABLE_EXTENDED",
  ],
  [
    "com.microsoft.extensions",
    "the op works on text or files (onnxruntime-extensions): do that in the application, and give the model numbers",
  ],
  [
    "ai.onnx.contrib",
    "the op works on text or files (onnxruntime-extensions): do that in the application, and give the model numbers",
  ],
  [
    "com.microsoft",
    "an optimiser of ONNX Runtime or Olive wrote this op: give the model as it was before, or optimise it with less (ORT_ENABLE_BASIC, without the fusion that makes this op)",
  ],
  [
    "ai.onnx.ml",
    "run trees, scalers and encoders of labels in the application, or convert them to tensor ops (Hummingbird)",
  ],
  ["ai.onnx.training", "training steps are made by trainStep, from a model that predicts"],
  ["ai.onnx.preview.training", "training steps are made by trainStep, from a model that predicts"],
  [
    "org.pytorch",
    "the exporter of PyTorch left an op untranslated: export with a newer PyTorch, dynamo=True, or a decomposition of it",
  ],
  [
    "aten",
    "the exporter of PyTorch left an op untranslated: export with a newer PyTorch, dynamo=True, or a decomposition of it",
  ],
  [
    "pkg.onnxscript",
    "the file lacks the functions that its exporter uses: export again, with the functions in the model",
  ],
  ["trt", "the op belongs to TensorRT: export the model without its plugins"],
];

/** What to do about an op that there is no row for. */
function hintFor(domain: string): string {
  if (domain === "") return EXPORT_HINT;
  const known = DOMAIN_HINTS.find(([start]) => domain.startsWith(start))?.[1];
  return (
    known ??
    `the op is not ONNX's but of "${domain}": export it as ops of ONNX, or define it in the file as a model-local function`
  );
}

/** The row of a node's op, and the version of its definition; or why there is none. */
export function findOp(node: OnnxNode): FoundOp {
  const { domain, opType: op, version } = node;
  const use = (reason: string, hint = hintFor(domain)): FoundOp => ({
    use: { domain, op, opset: version, nodes: [], reason, hint },
  });
  if (version === undefined)
    return use(
      `the model does not import the domain "${domain}"`,
      `add it to the opset imports of the file (${describeNode(node)})`,
    );
  let since = version;
  if (isStandardDomain(domain)) {
    if (domain === "" && version > NEWEST_OPSET)
      return use(
        `opset ${version} is newer than ${NEWEST_OPSET}, the newest that is known`,
        "export with an older opset",
      );
    const resolved = resolveOp(domain, op, version);
    switch (resolved.kind) {
      case "unknown":
        if (domain === "" && OPTIMIZER_OPS.has(op)) return { row: contrib[op] as ImportOp, since: 1 };
        return use("no op of this name exists");
      case "too-new":
        if (domain === "" && OPTIMIZER_OPS.has(op)) return { row: contrib[op] as ImportOp, since: 1 };
        return use(`the op exists only since opset ${resolved.since}`);
      case "removed":
        return use(`the op was removed in favour of ${resolved.use}`);
      case "known":
        since = resolved.since;
        break;
      default:
        resolved satisfies never;
    }
  }
  const table = DOMAIN_TABLES[domain];
  const row = table && Object.hasOwn(table, op) ? table[op] : undefined;
  if (row === undefined) return use("the op is not supported");
  if (typeof row !== "function") return use(row.unsupported, row.hint ?? hintFor(domain));
  return { row, since };
}
