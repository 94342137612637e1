/** `wasmith explain model.onnx --input picture.png`: what a model of pictures looked at, drawn over the picture. */

import { basename, extname, join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { ModelError } from "../../ir/errors.js";
import { paramName } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { compile } from "../compile.js";
import { explainable } from "../explain/explainable.js";
import { classCount, Explainer } from "../explain/explainer.js";
import type { Program } from "../program.js";
import { writeAll } from "../write.js";
import { integer, positive } from "./compile.js";
import { collectDim, type DimOption } from "./dim-flag.js";
import { table } from "./format.js";
import { loadModel } from "./load-model.js";
import {
  asInput,
  matrices,
  overlay,
  type PixelOptions,
  perPixel,
  pictureInput,
  readPicture,
  resized,
} from "./picture.js";
import { numbers, withPixelFlags } from "./pixel-flags.js";

const methods = ["saliency", "smooth-grad", "integrated-gradients", "grad-cam", "attention"] as const;
type Method = (typeof methods)[number];

interface ExplainFlags extends PixelOptions {
  readonly input: string;
  readonly method?: readonly Method[];
  readonly target?: number;
  readonly steps: number;
  readonly samples: number;
  readonly baseline?: number;
  readonly from?: string;
  readonly scores?: string;
  readonly dim?: DimOption;
  readonly out: string;
  readonly json?: boolean;
}

function number(text: string): number {
  const [x, ...more] = numbers(text);
  if (more.length > 0) throw new InvalidArgumentError("give one number");
  return x!;
}

export function explainCommand(): Command {
  return withPixelFlags(new Command("explain"))
    .argument("<model>", ".onnx, .graph, .js, .mjs or .ts file of one graph")
    .requiredOption("--input <picture>", "a PNG or JPEG file; it is brought to the model's size")
    .addOption(new Option("--method <names...>", "which to draw (default: all that the model has)").choices(methods))
    .option("--target <class>", "the class that is explained (default: that of the highest score)", integer)
    .option("--baseline <x>", "what integrated gradients begin at (default: what black is)", number)
    .option("--steps <n>", "points of integrated gradients", positive, 32)
    .option("--samples <n>", "noisy pictures of SmoothGrad", positive, 25)
    .option("--from <name>", "the model's input (default: the first of floats)")
    .option("--scores <name>", "the model's output (default: the first of floats)")
    .option("--dim <name=value>", "size of a dim of an ONNX file; repeatable", collectDim)
    .option("-o, --out <folder>", "where pictures are written", ".")
    .option("--json", "report as JSON")
    .action(explain);
}

/** @throws ModelError where a program has state, whose values are not in its file */
function graphOf(path: string, { entries, state }: Program) {
  if (entries.main !== undefined && state.length === 0) return entries.main;
  throw new ModelError({
    where: path,
    message: "a program with state of its own, which holds its weights",
    hint: "train it, write its model by exportOnnx, and explain that file",
  });
}

async function explain(path: string, flags: ExplainFlags): Promise<void> {
  const { program } = await loadModel(path, flags);
  const { from, scores: output } = flags;
  const model = explainable(graphOf(path, program), {
    ...(from === undefined ? {} : { input: from }),
    ...(output === undefined ? {} : { output }),
  });
  const name = model.input;
  if (name === undefined)
    throw new ModelError({
      where: path,
      message: "no input of floats, as pictures are",
      hint: "explain it by explainable and Explainer of the package wasmith, which give the attention of any model",
    });
  const input = model.graph.params.find((p) => paramName(p) === name)!;
  const { layout, channels, height, width } = pictureInput(name, input.type.shape);
  const whole = await readPicture(flags.input, channels);
  const picture = resized(whole, height ?? whole.height, width ?? whole.width);
  const feeds = { [name]: asInput(picture, layout, flags) };
  const session = await load(await compile(model.graph));
  try {
    const explainer = new Explainer(model, (given) => session.run(given as never));
    const scores = await explainer.scores(feeds);
    const ranked = rank(scores);
    const target = flags.target ?? ranked[0]!.class;
    const baseline = flags.baseline ?? flags.range?.[0] ?? 0;
    const inPixels = async (values: Promise<Tensor>) => overlay(picture, perPixel(await values, layout));
    const draw: { readonly [M in Method]: () => Promise<readonly (readonly [suffix: string, png: Uint8Array])[]> } = {
      saliency: async () => [["saliency", await inPixels(explainer.saliency(feeds, { target }))]],
      "smooth-grad": async () => [
        ["smooth-grad", await inPixels(explainer.smoothGrad(feeds, { target, samples: flags.samples }))],
      ],
      "integrated-gradients": async () => [
        [
          "integrated-gradients",
          await inPixels(explainer.integratedGradients(feeds, { target, baseline, steps: flags.steps })),
        ],
      ],
      "grad-cam": async () => {
        const { shape, data } = await explainer.gradCam(feeds, { target });
        const map = { channels: 1, height: shape[1]!, width: shape[2]!, data: data as Float32Array };
        return [["grad-cam", overlay(picture, map)]];
      },
      attention: async () => (await explainer.attention(feeds)).map((m, i) => [`attention-${i}`, matrices(m)] as const),
    };
    const has = (m: Method) =>
      m === "grad-cam" ? model.channels !== undefined : m !== "attention" || model.attentions > 0;
    const title = basename(flags.input, extname(flags.input));
    const files: [string, Uint8Array][] = [];
    for (const method of flags.method ?? methods.filter(has))
      for (const [suffix, png] of await draw[method]()) files.push([`${title}.${suffix}.png`, png]);
    await writeAll(flags.out, files);
    const paths = files.map(([file]) => join(flags.out, file));
    if (flags.json) {
      console.log(JSON.stringify({ target, scores: ranked.slice(0, 5), paths }));
      return;
    }
    const rows = ranked
      .slice(0, 5)
      .map((r) => [`class ${r.class}`, r.score.toFixed(3), r.class === target ? "explained" : ""]);
    console.log(table(rows));
    for (const p of paths) console.log(p);
  } finally {
    session.dispose();
  }
}

/** Classes by their scores. */
function rank({ shape, data }: Tensor): readonly { readonly class: number; readonly score: number }[] {
  return Array.from((data as Float32Array).subarray(0, classCount(shape)), (score, i) => ({ class: i, score })).sort(
    (a, b) => b.score - a.score,
  );
}
