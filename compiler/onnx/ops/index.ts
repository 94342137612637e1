/** All op tables together, and the lookup of a node's row. */
import { describeNode } from "../attributes.js";
import type { ImportOp, OpRow } from "../context.js";
import type { OnnxNode } from "../model.js";
import { isStandardDomain, NEWEST_OPSET, type OnnxOpName, resolveOp } from "../schema.js";
import { attentions } from "./attention.js";
import { contraction } from "./contraction.js";
import { contrib } from "./contrib.js";
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

const STRINGS: OpRow = {
  unsupported: "strings are not supported",
  hint: "process text before the model, and give it numbers",
};

const unsupported = {
  RegexFullMatch: STRINGS,
  StringConcat: STRINGS,
  StringNormalizer: STRINGS,
  StringSplit: STRINGS,
  TfIdfVectorizer: STRINGS,
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
} satisfies { readonly [N in OnnxOpName]: OpRow };

/** All rows, by domain. */
export const DOMAIN_TABLES: { readonly [domain: string]: { readonly [op: string]: OpRow | undefined } } = {
  "": onnx,
  "ai.onnx.preview": preview,
  "com.microsoft": contrib,
};

const RUNTIME_OPS: ReadonlySet<string> = new Set(["SimplifiedLayerNormalization"]);

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

/** The row of a node's op, and the version of its definition; or why there is none. */
export function findOp(node: OnnxNode): FoundOp {
  const { domain, opType: op, version } = node;
  const use = (reason: string, hint = EXPORT_HINT): FoundOp => ({
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
        // ONNX Runtime's optimiser puts some of its own ops into ONNX's domain.
        if (domain === "" && RUNTIME_OPS.has(op)) return { row: contrib[op] as ImportOp, since: 1 };
        return use("no op of this name exists");
      case "too-new":
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
  if (typeof row !== "function") return use(row.unsupported, row.hint ?? EXPORT_HINT);
  return { row, since };
}
