import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { nn } from "../../compiler/dsl/index.js";
import { readOnnx } from "../../compiler/onnx/model.js";
import type { Value } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { dataFolder, disagreement, hasData, readTensors } from "./reference-data.js";

/** Masks as the exported model takes them. */
class WithMasks extends nn.Module<readonly [src: Value, tgt: Value, tgtMask: Value, srcPadding: Value]> {
  readonly tr = nn.Transformer(16, 2, { encoderLayers: 1, decoderLayers: 1, feedForward: 32, activation: "gelu" });

  forward(ctx: nn.Context, src: Value, tgt: Value, tgtMask: Value, srcPadding: Value): Value {
    const mask = nn.paddingMask(srcPadding);
    return this.tr(ctx, src, tgt, { source: { mask }, target: { mask: tgtMask, memoryMask: mask } });
  }
}

describe.skipIf(!hasData)("the transformer", () => {
  it("equals PyTorch's, with its weights and names", () => {
    const folder = join(dataFolder, "reference/onnx/transformer_encdec_masks_op13");
    const onnx = readOnnx(new Uint8Array(readFileSync(join(folder, "model.onnx"))));
    const io = readTensors(join(folder, "io.safetensors"));
    const model = new WithMasks().loadState(onnx.graph.initializers as ReadonlyMap<string, Tensor>);
    const g = nn.toGraph(model, {
      inputs: {
        src: ["S", "N", 16],
        tgt: ["T", "N", 16],
        tgt_mask: ["T", "T"],
        src_kpm: { dtype: "bool", shape: ["N", "S"] },
      },
      outputs: ["out"],
    });
    for (const c of ["case0", "case1"]) {
      const feeds = ["src", "tgt", "tgt_mask", "src_kpm"].map((name) => io.get(`${c}.in.${name}`)!);
      expect(disagreement(evaluate(g, feeds)[0]!, io.get(`${c}.out.out`)!, 1e-4, 6e-5), c).toBeUndefined();
    }
  });
});
