/** models/bert gives PyTorch's numbers from PyTorch's weights, where WASMITH_DATA has them. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { decodeModel } from "../../compiler/onnx/protobuf.js";
import { decodeTensor } from "../../compiler/onnx/tensor.js";
import { compile, program } from "../../index.js";
import type { Tensor } from "../../ir/tensor.js";
import { Bert } from "../../models/bert/model.js";
import type { Feed } from "../../runtime/feeds.js";
import { load } from "../../runtime/index.js";
import { dataFolder, disagreement, hasData, readJson, readTensors } from "../nn/reference-data.js";
import { toTensor } from "../onnx/compare.js";

const place = join(dataFolder, "reference/onnx/bert");

/** The network's names of parts, by those in the file. */
const parts: Readonly<Record<string, string>> = {
  word: "embeddings.word_embeddings",
  position: "embeddings.position_embeddings",
  token_type: "embeddings.token_type_embeddings",
  ln: "embeddings.LayerNorm",
  query: "attention.self.query",
  key: "attention.self.key",
  value: "attention.self.value",
  dense: "attention.output.dense",
  ln1: "attention.output.LayerNorm",
  inter: "intermediate.dense",
  output: "output.dense",
  ln2: "output.LayerNorm",
  pooler: "pooler.dense",
};
const pathOf = (name: string) =>
  name.replace(/^(?:layers\.(\d+)\.)?(\w+)\./, (_, layer: string | undefined, part: string) =>
    layer === undefined ? `${parts[part]}.` : `encoder.layer.${layer}.${parts[part]}.`,
  );

function transposed({ shape: [rows, columns], data, dtype }: Tensor): Tensor {
  const out = Float32Array.from(data as Float32Array, (_, i) => {
    const [row, column] = [Math.floor(i / rows!), i % rows!];
    return Number(data[column * columns! + row]);
  });
  return { dtype, shape: [columns!, rows!], data: out } as Tensor;
}

/** Weights by the network's names. Linear layers are products in the file, of weights that only the bias behind them tells. */
function weights(): Map<string, Tensor> {
  const { initializer = [], node = [] } = decodeModel(readFileSync(join(place, "model.onnx"))).graph!;
  const given = new Map(initializer.map((t) => [t.name!, toTensor(decodeTensor(t, t.name!))]));
  const found = new Map<string, Tensor>();
  for (const [name, t] of given) if (/\.(weight|bias)$/.test(name)) found.set(pathOf(name), t);
  for (const product of node.filter(({ opType, input = [] }) => opType === "MatMul" && given.has(input[1]!))) {
    const sum = node.find(({ opType, input = [] }) => opType === "Add" && input[1] === product.output![0])!;
    found.set(pathOf(sum.input![0]!.replace(/bias$/, "weight")), transposed(given.get(product.input![1]!)!));
  }
  return found;
}

describe.skipIf(!hasData)("BERT with PyTorch's weights", () => {
  it("gives PyTorch's states and pooled outputs, with types and padding", async () => {
    const state = weights();
    const rows = (name: string) => state.get(`embeddings.${name}_embeddings.weight`)!.shape[0]!;
    const bert = new Bert({
      vocabulary: rows("word"),
      positions: rows("position"),
      features: 32,
      layers: 2,
      heads: 4,
    });
    bert.loadState(state);
    const ids = {
      input_ids: "i64[batch,seq]",
      token_type_ids: "i64[batch,seq]",
      attention_mask: "i64[batch,seq]",
    } as const;
    const reading = program(
      { bert },
      {
        predict: {
          inputs: ids,
          training: false,
          run: (ctx, { input_ids, token_type_ids, attention_mask }) =>
            bert(ctx, input_ids, { types: token_type_ids, mask: attention_mask.ne(0) }),
        },
      },
    );
    const session = await load(await compile(reading, { variants: ["simd128"] }), { threads: 1 });
    const { outputs, cases } = readJson<{
      readonly outputs: readonly { readonly rtol: number; readonly atol: number }[];
      readonly cases: readonly { readonly name: string }[];
    }>(join(place, "meta.json"));
    const io = readTensors(join(place, "io.safetensors"));
    for (const { name } of cases) {
      const feeds = Object.fromEntries(
        Object.keys(ids).map((input) => [input, io.get(`${name}.in.${input}`)! as Feed]),
      );
      const got = (await session.run(feeds)) as Record<string, Tensor>;
      for (const [i, output] of ["last_hidden_state", "pooler_output"].entries())
        expect(
          disagreement(
            got[["states", "pooled"][i]!]!,
            io.get(`${name}.out.${output}`)!,
            outputs[i]!.rtol,
            outputs[i]!.atol,
          ),
          `${name}, ${output}`,
        ).toBeUndefined();
    }
    session.dispose();
  });
});
