/** binaryen's optimiser over modules that are complete: an optional package, which is loaded for those who ask for it. */

import { ModelError } from "../../ir/errors.js";
import { importModule } from "../../runtime/platform.js";
import type { Variant } from "./module.js";

export const optimizers = ["direct", "binaryen"] as const;
/** What makes code of kernels: the compiler alone, or with binaryen's passes behind it. */
export type Optimizer = (typeof optimizers)[number];

type Binaryen = typeof import("binaryen").default;

async function load(): Promise<Binaryen> {
  try {
    return (await importModule<typeof import("binaryen")>("binaryen")).default;
  } catch (cause) {
    throw new ModelError(
      {
        where: "option optimizer",
        message: `"binaryen" takes the package binaryen, which can't be loaded`,
        hint: 'npm install binaryen, or take "direct", the default',
      },
      { cause },
    );
  }
}

/**
 * What runs binaryen's passes at -O2 over a module.
 * @throws ModelError if the package is not installed
 */
export async function loadBinaryen(): Promise<(bytes: Uint8Array, variant: Variant) => Uint8Array> {
  const binaryen = await load();
  // binaryen's declarations lag behind: readBinary takes the features as a second argument.
  const read = binaryen.readBinary as (data: Uint8Array, features: number) => ReturnType<Binaryen["readBinary"]>;
  return (bytes, variant) => {
    const module = read(bytes, featuresOf(binaryen, variant));
    try {
      binaryen.setOptimizeLevel(2);
      binaryen.setShrinkLevel(0);
      binaryen.setDebugInfo(true);
      module.optimize();
      return module.emitBinary();
    } finally {
      module.dispose();
    }
  };
}

/** What the variant's modules may hold, also after the passes. */
function featuresOf({ Features: f }: Binaryen, variant: Variant): number {
  return (
    f.MVP |
    f.MutableGlobals |
    f.NontrappingFPToInt |
    f.SIMD128 |
    f.BulkMemory |
    f.BulkMemoryOpt |
    f.SignExt |
    (variant.simd === "relaxed" ? f.RelaxedSIMD : 0) |
    (variant.threads ? f.Atomics : 0) |
    (variant.memory64 ? f.Memory64 : 0)
  );
}
