/** What the clean-up passes find in PyTorch's exports and trained models: how often each of their rules fires. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { importModel } from "../../compiler/onnx/import.js";
import { readOnnx } from "../../compiler/onnx/model.js";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { runPipeline } from "../../passes/pipeline.js";
import { toTensor } from "./compare.js";
import { hasExports, hasModels, pytorchExports, readSafetensors, trainedModels } from "./data.js";

type Found = Readonly<Record<string, number>>;

/** Nodes that rules of a pass have made. */
function found(name: string, folder: string, pass: string): Found {
  const fixed = name === "silero-vad-v5" ? ["sr"] : [];
  const { tensors } = fixed.length > 0 ? readSafetensors(join(folder, "io.safetensors")) : { tensors: new Map() };
  const values = Object.fromEntries(fixed.map((input) => [input, toTensor(tensors.get(`case0.in.${input}`))]));
  const { graph } = importModel(readOnnx(readFileSync(join(folder, "model.onnx"))), { values, maxUnknownSize: 256 });
  const rules: Record<string, number> = {};
  runPipeline(defaultPipeline, graph, {
    onPass: (e) => {
      if (e.pass === pass) for (const [rule, count] of e.rules) rules[rule.replace("recognize-", "")] = count;
    },
  });
  return rules;
}

const norms = (n: number): Found => ({ norm: n, "norm-scale": n, "norm-bias": n });

/** Models that are not named here hold nothing in steps. */
const recognized: Readonly<Record<string, Found>> = {
  "capp-gpt": { ...norms(9), attention: 4, "whole-power": 4, activation: 4 },
  "dtln-2": { ...norms(1) },
  gtcrn: { ...norms(4) },
  "gtcrn-simple": { ...norms(4) },
  "magika-v3-3": { activation: 2, softmax: 1 },
  "oww-hello-deepa": { ...norms(2) },
  "ppocr-cls": { activation: 18 },
  "ppocr-v4-rec": { ...norms(5), activation: 28, attention: 2 },
  bert: { attention: 2, activation: 2 },
  bert_op11: { ...norms(5), attention: 2, activation: 2 },
  capsnet: { "root-divisor": 4 },
  convnext_like: { "root-divisor": 2, activation: 3 },
  gpt_causal: { attention: 2, "whole-power": 2, activation: 2 },
  gpt_causal_op13_nofold: { ...norms(3), attention: 1, "whole-power": 1, activation: 1 },
  norm_activation_variety: { activation: 2 },
  norm_activation_variety_op13: { ...norms(2), activation: 2 },
  ops_attention: { attention: 2 },
  ops_losses: { "log-of-softmax": 1 },
  ops_unary: { "whole-power": 1 },
  transformer_encdec: { attention: 6 },
  transformer_encdec_masks_op13: { ...norms(7), attention: 3, activation: 2 },
};

/** Products of which a scale went into the weight, or additions of constants became one. */
const folded: Readonly<Record<string, Found>> = {
  "antispoof-fp32": { "fold-scale": 1 },
  "basic-pitch": { "fold-scale": 9 },
  gtcrn: { "fold-scale": 11 },
  "gtcrn-simple": { "fold-scale": 11 },
  "kws-qdq": { "fold-scale": 9 },
  "kws-qoperator": { "fold-scale": 3 },
  "ppocr-cls": { "fold-scale": 35 },
  "ppocr-v4-rec": { "fold-scale": 34 },
  "ultraface-rfb-320": { "fold-scale": 35 },
  bert: { "fold-scale": 1 },
  bert_op11: { "fold-scale": 1 },
  convnext_like: { "fold-scale": 3 },
  dcgan_generator: { "fold-scale": 3 },
  densenet: { "fold-scale": 8 },
  frcnn_rpn_proposals: { "fold-scale": 1 },
  mlp_bn_dropout: { "fold-scale": 1 },
  resnet18_bn_nodes_op11: { "fold-scale": 20 },
  vgg11_bn_nodes: { "fold-scale": 8 },
};

const suites = [
  ["PyTorch's exports", hasExports, pytorchExports],
  ["trained models", hasModels, trainedModels],
] as const;

describe.each(suites)("%s", (_, has, list) => {
  const files = has ? list() : [];
  it.skipIf(!has)("hold composites in steps, which are recognised", { timeout: 300_000 }, () => {
    for (const { name, folder } of files)
      expect(found(name, folder, "recognize"), name).toEqual(recognized[name] ?? {});
  });
  it.skipIf(!has)("hold scales that are folded", { timeout: 300_000 }, () => {
    const all = files.map(({ name, folder }) => [name, found(name, folder, "fold-scales")] as const);
    expect(Object.fromEntries(all)).toEqual(Object.fromEntries(files.map(({ name }) => [name, folded[name] ?? {}])));
  });
});
