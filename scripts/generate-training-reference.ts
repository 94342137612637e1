/**
 * Writes docs/TRAINING.md's reference from the schemas of optimisers, schedules, losses and metrics, and says where each of PyTorch's
 * and Keras's is: `npx tsx scripts/generate-training-reference.ts`. tests/docs/training.test.ts sees to it that it is up to date.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { losses, metrics, optim, schedules } from "../compiler/dsl/index.js";
import { type Definition, definitionOf } from "../compiler/schema.js";
import { entryOf } from "./generate-layer-reference.js";
import { between } from "./marks.js";

const families: Readonly<Record<string, object>> = {
  Optimisers: optim,
  Schedules: schedules,
  Losses: losses,
  Metrics: metrics,
};

/** What others call them, and what they are called here; null where there is none, with the reason. */
const others: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "torch.optim": {
    Adadelta: "optim.Adadelta",
    Adafactor: "optim.Adafactor",
    Adagrad: "optim.Adagrad",
    Adam: "optim.Adam",
    AdamW: "optim.AdamW",
    Adamax: "optim.Adamax",
    ASGD: "optim.ASGD",
    LBFGS: "optim.LBFGS",
    Muon: "optim.Muon",
    NAdam: "optim.NAdam",
    RAdam: "optim.RAdam",
    SparseAdam: "optim.SparseAdam",
    RMSprop: "optim.RMSprop",
    Rprop: "optim.Rprop",
    SGD: "optim.SGD",
    "swa_utils.AveragedModel": "optim.averaged",
    "utils.clip_grad_norm_": "optim.clipNorm",
    "utils.clip_grad_value_": "optim.clipValue",
  },
  "torch.optim.lr_scheduler": {
    ChainedScheduler: "schedules.product",
    ConstantLR: "schedules.constantFactor",
    CosineAnnealingLR: "schedules.cosine",
    CosineAnnealingWarmRestarts: "schedules.cosineRestarts",
    CyclicLR: "schedules.cyclic",
    ExponentialLR: "schedules.exponential",
    LambdaLR: "a function `(m, s) => …` of an arithmetic and the step",
    LinearLR: "schedules.linear",
    MultiStepLR: "schedules.multiStep",
    OneCycleLR: "schedules.oneCycle, schedules.oneCycleMomentum",
    PolynomialLR: "schedules.polynomial",
    ReduceLROnPlateau: "schedules.Plateau",
    SequentialLR: "schedules.switchAt",
    StepLR: "schedules.step",
    "MultiplicativeLR, SWALR": "not here",
  },
  "torch.nn losses": {
    BCELoss: "losses.bce",
    BCEWithLogitsLoss: "losses.bceWithLogits",
    CosineEmbeddingLoss: "losses.cosineEmbedding",
    CrossEntropyLoss: "losses.crossEntropy",
    CTCLoss: "losses.ctc",
    GaussianNLLLoss: "losses.gaussianNLL",
    HingeEmbeddingLoss: "losses.hingeEmbedding",
    HuberLoss: "losses.huber",
    KLDivLoss: "losses.klDiv",
    L1Loss: "losses.l1",
    MarginRankingLoss: "losses.marginRanking",
    MSELoss: "losses.mse",
    MultiLabelMarginLoss: "losses.multiLabelMargin",
    MultiLabelSoftMarginLoss: "losses.multiLabelSoftMargin",
    MultiMarginLoss: "losses.multiMargin",
    NLLLoss: "losses.nll",
    PoissonNLLLoss: "losses.poissonNLL",
    SmoothL1Loss: "losses.smoothL1",
    SoftMarginLoss: "losses.softMargin",
    TripletMarginLoss: "losses.triplet",
    "torchvision.ops.sigmoid_focal_loss": "losses.focal",
    "AdaptiveLogSoftmaxWithLoss, TripletMarginWithDistanceLoss": "not here",
  },
  "keras.optimizers": {
    "Adam, AdamW, Adamax, RMSprop, Adagrad": 'the same names, with `epsilonForm: "keras", epsilon: 1e-7`',
    "Adadelta, SGD, Lion": "the same names",
    Lamb: "optim.LAMB",
    "`use_ema`": "optim.averaged",
    "`global_clipnorm`, `clipnorm`, `clipvalue`": "optim.clipNorm, optim.clipEachNorm, optim.clipValue",
    "Nadam, Adafactor, Ftrl": "not here in Keras's form (`optim.NAdam` is PyTorch's)",
  },
  "keras.optimizers.schedules": {
    CosineDecay: "schedules.cosineDecay",
    CosineDecayRestarts: "schedules.cosineRestarts",
    ExponentialDecay: "schedules.exponentialDecay",
    InverseTimeDecay: "schedules.inverseTime",
    PiecewiseConstantDecay: "schedules.piecewise",
    PolynomialDecay: "schedules.polynomial",
  },
  "keras.losses": {
    BinaryCrossentropy: "losses.bce, losses.bceWithLogits",
    BinaryFocalCrossentropy: "losses.focal",
    "CategoricalCrossentropy, SparseCategoricalCrossentropy":
      "losses.crossEntropy, with `fromLogits: false` for probabilities",
    CosineSimilarity: "losses.cosineSimilarity",
    CTC: "losses.ctc",
    Dice: "losses.dice",
    "Hinge, SquaredHinge": "losses.hinge, losses.squaredHinge",
    Huber: "losses.huber",
    KLDivergence: "losses.klDiv",
    LogCosh: "losses.logCosh",
    MeanAbsoluteError: "losses.l1",
    MeanAbsolutePercentageError: "losses.meanAbsolutePercentage",
    MeanSquaredError: "losses.mse",
    MeanSquaredLogarithmicError: "losses.meanSquaredLogarithmic",
    Poisson: "losses.poissonNLL",
    CategoricalFocalCrossentropy: "losses.softmaxFocal, of logits and without alpha",
    "CategoricalHinge, Circle, Tversky": "not here",
  },
};

/** Definitions of what a family exports, in the order of names. */
export function trainingDefinitions(): readonly (readonly [family: string, readonly Definition[]])[] {
  return Object.entries(families).map(([family, exported]) => [
    family,
    Object.values(exported as Readonly<Record<string, unknown>>)
      .filter((v): v is object => typeof v === "function")
      .map(definitionOf)
      .filter((d): d is Definition => d !== undefined)
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  ]);
}

function namesTable(): string {
  const known = new Set(trainingDefinitions().flatMap(([, all]) => all.map((d) => d.name)));
  return Object.entries(others)
    .map(([library, names]) => {
      const rows = Object.entries(names).map(([theirs, ours]) => {
        for (const name of ours.match(/\b(?:optim|schedules|losses|metrics)\.\w+/g) ?? [])
          if (!known.has(name)) throw new Error(`there is no ${name}`);
        return `| ${theirs} | ${ours.replace(/(?<!`)\b(?:optim|schedules|losses)\.\w+/g, "`$&`")} |`;
      });
      return `| ${library} | here |\n|---|---|\n${rows.join("\n")}\n`;
    })
    .join("\n");
}

const reference = (): string =>
  trainingDefinitions()
    .map(([family, all]) => `### ${family}\n\n${all.map((d) => entryOf([d])).join("\n")}`)
    .join("\n");

const page = { document: "docs/TRAINING.md", script: "scripts/generate-training-reference.ts" };

/** The document with what is generated between its marks. */
export const withTraining = (document: string): string =>
  between(between(document, page, "names", namesTable()), page, "training reference", reference());

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const path = fileURLToPath(new URL("../docs/TRAINING.md", import.meta.url));
  writeFileSync(path, withTraining(readFileSync(path, "utf8")));
}
