/**
 * Writes docs/LAYERS.md's reference from the schemas of the layers, and says where each of torch.nn's modules is:
 * `npx tsx scripts/generate-layer-reference.ts`. tests/docs/layers.test.ts sees to it that it is up to date.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as activation from "../compiler/dsl/layers/activation.js";
import * as attention from "../compiler/dsl/layers/attention.js";
import * as cells from "../compiler/dsl/layers/cells.js";
import * as compose from "../compiler/dsl/layers/compose.js";
import * as conv from "../compiler/dsl/layers/conv.js";
import * as dropout from "../compiler/dsl/layers/dropout.js";
import * as embedding from "../compiler/dsl/layers/embedding.js";
import * as image from "../compiler/dsl/layers/image.js";
import * as linear from "../compiler/dsl/layers/linear.js";
import * as norm from "../compiler/dsl/layers/norm.js";
import * as parametrize from "../compiler/dsl/layers/parametrize.js";
import * as pool from "../compiler/dsl/layers/pool.js";
import * as recurrent from "../compiler/dsl/layers/recurrent.js";
import * as resize from "../compiler/dsl/layers/resize.js";
import * as shape from "../compiler/dsl/layers/shape.js";
import * as transformer from "../compiler/dsl/layers/transformer.js";
import { type Definition, definitionOf, type Option, type Schema } from "../compiler/schema.js";
import { between } from "./marks.js";

const families: Readonly<Record<string, object>> = {
  "Linear layers": linear,
  Embeddings: embedding,
  Convolutions: conv,
  Pools: pool,
  "Windows, pixels, regions, distances": image,
  "Padding and resizing": resize,
  Norms: norm,
  "Weights that are computed": parametrize,
  Activations: activation,
  Noise: dropout,
  "Recurrent layers": recurrent,
  "Recurrent cells": cells,
  Attention: attention,
  Transformers: transformer,
  "Shapes and functions": shape,
  "Layers of layers": compose,
};

/** Modules of torch.nn that are called otherwise here, or are not here. All others have their names. */
const elsewhere: Readonly<Record<string, string>> = {
  MultiheadAttention: "`nn.MultiHeadAttention`",
  Sequential: "`nn.sequential`",
  ModuleList: "an array in a property",
  ModuleDict: "a record in a property",
  ParameterList: "an array of `nn.parameter` in a property",
  ParameterDict: "a record of `nn.parameter` in a property",
  Container: "a class that extends `nn.Module`",
  RNNBase: "`nn.RNN`, `nn.LSTM`, `nn.GRU`",
  RNNCellBase: "`nn.RNNCell`, `nn.LSTMCell`, `nn.GRUCell`",
  CrossMapLRN2d: "`nn.LocalResponseNorm`",
  SyncBatchNorm: "not here: a model trains on one machine (`nn.BatchNorm2d`)",
  DataParallel: "not here: threads share one step",
  FractionalMaxPool: "not here yet",
  AdaptiveLogSoftmaxWithLoss: "not here yet",
};
const lazy = "not here: sizes are given, and an error names a layer that does not fit";

/** Of torch.nn, losses apart (`losses`), by PyTorch 2.13. */
const torchModules =
  "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveLogSoftmaxWithLoss AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d AlphaDropout AvgPool1d AvgPool2d AvgPool3d BatchNorm1d BatchNorm2d BatchNorm3d Bilinear CELU ChannelShuffle CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Container Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d CosineSimilarity CrossMapLRN2d DataParallel Dropout Dropout1d Dropout2d Dropout3d ELU Embedding EmbeddingBag FeatureAlphaDropout Flatten Fold FractionalMaxPool2d FractionalMaxPool3d GELU GLU GRU GRUCell GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh Identity InstanceNorm1d InstanceNorm2d InstanceNorm3d LPPool1d LPPool2d LPPool3d LSTM LSTMCell LayerNorm LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear LeakyReLU Linear LocalResponseNorm LogSigmoid LogSoftmax MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d Mish ModuleDict ModuleList MultiheadAttention PReLU PairwiseDistance ParameterDict ParameterList PixelShuffle PixelUnshuffle RMSNorm RNN RNNBase RNNCell RNNCellBase RReLU ReLU ReLU6 ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d SELU Sequential SiLU Sigmoid Softmax Softmax2d Softmin Softplus Softshrink Softsign SyncBatchNorm Tanh Tanhshrink Threshold Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer Unflatten Unfold Upsample UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d".split(
    " ",
  );

/** Definitions of all layers by family, in the order of their names. */
export function layerDefinitions(): readonly (readonly [family: string, readonly Definition[]])[] {
  return Object.entries(families).map(([family, exported]) => [
    family,
    Object.values(exported as Readonly<Record<string, unknown>>)
      .filter((v): v is object => typeof v === "function")
      .map(definitionOf)
      .filter((d): d is Definition => d !== undefined)
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  ]);
}

const value = (v: unknown): string => (typeof v === "string" ? JSON.stringify(v) : String(v));
const ended = (text: string): string => (text.endsWith(".") ? text : `${text}.`);

function optionText([name, o]: readonly [string, Option<unknown>]): string {
  const standard = o.default === undefined ? "" : `Default: ${value(o.default)}.`;
  return `  - \`${name}\`: ${ended(o.summary)} ${standard}`.trimEnd();
}

/** An entry for definitions that differ in their names and summaries only. */
export function entryOf(alike: readonly Definition[]): string {
  const [first] = alike as readonly [Definition];
  const args = [
    ...(first.parameters ?? []).map((p) => (p.optional ? `${p.name}?` : p.name)),
    ...(first.options ? ["options?"] : []),
  ];
  const names = alike.map((d) => `**${d.name}**`).join(", ");
  const summaries = [
    ...new Set(alike.map((d) => d.summary.replace(/\b[123](?= axes)/, "1, 2 or 3").replace(/; x of rank .*?\./, "."))),
  ];
  const rows = [
    ...(first.parameters ?? []).map((p) => `  - ${p.name}: ${ended(p.summary)}`),
    ...Object.entries(first.options ?? {}).map(optionText),
  ];
  return `- ${names}(${args.join(", ")}): ${ended(summaries.join(" · "))}\n${rows.map((r) => `${r}\n`).join("")}`;
}

const sameText = (a: Definition, b: Definition): boolean => {
  const text = (d: Definition) =>
    JSON.stringify([d.parameters, Object.entries(d.options ?? ({} as Schema)).map(optionText)]);
  return a.name.replace(/[123]d$/, "") === b.name.replace(/[123]d$/, "") && text(a) === text(b);
};

function grouped(definitions: readonly Definition[]): readonly (readonly Definition[])[] {
  const groups: Definition[][] = [];
  for (const d of definitions) {
    const last = groups.at(-1);
    if (last !== undefined && sameText(last[0]!, d)) last.push(d);
    else groups.push([d]);
  }
  return groups;
}

/** Where torch.nn's modules are that have not their own names here. */
export function torchTable(): string {
  const ours = new Set(layerDefinitions().flatMap(([, all]) => all.map((d) => d.name)));
  const places = new Map<string, string[]>();
  for (const name of torchModules) {
    if (ours.has(`nn.${name}`)) continue;
    const where =
      elsewhere[name] ?? elsewhere[name.replace(/[123]d$/, "")] ?? (name.startsWith("Lazy") ? lazy : undefined);
    if (where === undefined) throw new Error(`nobody says where ${name} is`);
    places.set(where, [...(places.get(where) ?? []), name]);
  }
  const rows = [...places].map(([where, names]) => `| ${names.join(", ")} | ${where} |`);
  return `| torch.nn | here |\n|---|---|\n${rows.join("\n")}\n`;
}

export function layerReference(): string {
  return layerDefinitions()
    .map(([family, all]) => `### ${family}\n\n${grouped(all).map(entryOf).join("\n")}`)
    .join("\n");
}

const page = { document: "docs/LAYERS.md", script: "scripts/generate-layer-reference.ts" };

/** The document with what is generated between its marks. */
export const withLayers = (document: string): string =>
  between(between(document, page, "torch.nn", torchTable()), page, "layer reference", layerReference());

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const path = fileURLToPath(new URL("../docs/LAYERS.md", import.meta.url));
  writeFileSync(path, withLayers(readFileSync(path, "utf8")));
}
