/** Which size of a signature is the batch: what `fit` cuts data sets along. */

import { type Dim, dimSymbols } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { type TensorType, typeText } from "../../ir/graph.js";

/** A size that a caller binds by itself: `batch`, but not `2*batch`. */
function nameOf(d: Dim | undefined): string | null {
  if (d === undefined || typeof d === "number") return null;
  const [symbol, ...more] = dimSymbols(d).values();
  return symbol !== undefined && more.length === 0 && symbol.name === d.key ? symbol.name : null;
}

/**
 * The name that the caller gives; else the size called `batch`; else the one that leads all inputs; else the only one that all inputs
 * have. `{ x: ["steps", "batch", 8], y: ["batch"] }` is cut along axis 1 of x and axis 0 of y. Null where the batch has a fixed size.
 */
export function batchDim(inputs: ReadonlyMap<string, TensorType>, given?: string): string | null {
  const types = [...inputs.values()];
  const names = types.map(({ shape }) => shape.map(nameOf).filter((n) => n !== null));
  if (given !== undefined) {
    if (names.some((of) => of.includes(given))) return given;
    const signature = [...inputs].map(([name, type]) => `${name}: ${typeText(type)}`).join(", ");
    throw new ModelError({
      where: "option batch",
      message: `no input has the size "${given}"`,
      hint: `the inputs are ${signature}`,
    });
  }
  if (names.some((of) => of.includes("batch"))) return "batch";
  const leading = nameOf(types[0]?.shape[0]);
  if (leading !== null && types.every((t) => nameOf(t.shape[0]) === leading)) return leading;
  const everywhere = [...new Set(names[0])].filter((name) => names.every((of) => of.includes(name)));
  return everywhere.length === 1 ? everywhere[0]! : null;
}
