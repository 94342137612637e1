/** wasmith, the compiler: build a model or import one, compile it, write the artefact. The runtime is `wasmith/runtime`. */

export { type CacheOptions, withCache } from "./compiler/cache.js";
export type { Figures, Goal, SessionOf, TrainModule, TrainRun } from "./compiler/cli/train-types.js";
export { type Artifact, type CompileOptions, compile } from "./compiler/compile.js";
export {
  checkpoint,
  type Entry,
  type EntryContext,
  F,
  type GradientMetric,
  type GradientOptions,
  type GraphOutput,
  type GraphTrainOptions,
  grad,
  gradients,
  graph,
  losses,
  metrics,
  nn,
  optim,
  type ProgramOptions,
  param,
  perSample,
  program,
  type StreamingMetric,
  schedules,
  type Trainable,
  type TrainOptions,
  toGraph,
  trainStep,
  vjp,
} from "./compiler/dsl/index.js";
export { type Explainable, type ExplainableOptions, explainable } from "./compiler/explain/explainable.js";
export {
  Explainer,
  type IntegratedGradientsOptions,
  type SmoothGradOptions,
  type TargetOptions,
} from "./compiler/explain/explainer.js";
export type { BoundTensor, ModelValue } from "./compiler/late/binding.js";
export { type ArtifactStore, type CachedArtifact, ModelCache, type ModelCacheOptions } from "./compiler/late/cache.js";
export { compileFor, type LateArtifact, type LateBinding, type LateOptions } from "./compiler/late/compile-for.js";
export type { ModelFeed, ModelFeeds } from "./compiler/late/feeds.js";
export { coverage, type OpUse } from "./compiler/onnx/coverage.js";
export { type ExportOptions, exportOnnx } from "./compiler/onnx/export/export.js";
export { type ExternalData, externalDataIn } from "./compiler/onnx/external-data.js";
export { type ImportOptions, importOnnx } from "./compiler/onnx/import.js";
export { readOnnx } from "./compiler/onnx/model.js";
export {
  type NoiseOptions,
  noiseFor,
  type PrivacyOptions,
  type PrivacySpent,
  privacySpent,
} from "./compiler/privacy/accountant.js";
export type { Program, ProgramState } from "./compiler/program.js";
export { quantizeWeights, type WeightFormat } from "./compiler/quantize.js";
export {
  type LoadSession,
  type TunableSession,
  type TuneOptions,
  type TuneProgress,
  tune,
} from "./compiler/tune/tune.js";
export { readTuning, type TunedChoice, type Tuning } from "./compiler/tune/tuning.js";
export { version } from "./compiler/version.js";
export { type GivenWeights, inferenceGraph, withWeights } from "./compiler/weights-given.js";
export * as build from "./ir/build.js";
export type { Dim } from "./ir/dim.js";
export type { DType } from "./ir/dtype.js";
export { InternalError, ModelError, type Problem, VerifyError } from "./ir/errors.js";
export type { Graph, Shape, TensorType, Value } from "./ir/graph.js";
export { parseGraph } from "./ir/graph-parse.js";
export { printGraph } from "./ir/graph-print.js";
export { verifyGraph } from "./ir/graph-verify.js";
export { evaluate } from "./ir/reference.js";
export { type Tensor, tensor, tensorFrom } from "./ir/tensor.js";
export { differentiate } from "./passes/graph/differentiate.js";
