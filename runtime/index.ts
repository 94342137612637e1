/** The runtime: loads artefacts of wasmith and runs them, in Node and in browsers. Holds no compiler. */
export type { Batches, BatchRequest, BatchSource, Dataset, EpochSource } from "./dataset.js";
export type { ModelKey } from "./encryption.js";
export { InternalError, ModelError, type Problem } from "./errors.js";
export type {
  BatchEvent,
  BeginEvent,
  CallbackState,
  Callbacks,
  EndEvent,
  EpochEvent,
  FitOptions,
  FitSession,
  Measures,
} from "./events.js";
export type { Feed, Feeds } from "./feeds.js";
export type { ArtifactParts, DType, Manifest, StateRole, VariantId } from "./format.js";
export type { Curve, History } from "./history.js";
export {
  type EntryMethods,
  type EntryTypes,
  type LoadOptions,
  load,
  type SessionWith,
  type TrainingArtifact,
  type TypedArtifact,
} from "./load.js";
export type { Fetch, LoadProgress } from "./loading.js";
export { defaults } from "./machine.js";
export type { ProfileRow } from "./profile.js";
export type { BinarySource } from "./read.js";
export {
  type EntryResults,
  type EntrySignature,
  type ProfileOptions,
  type Report,
  type Results,
  type RunOptions,
  Session,
  type Signature,
} from "./session.js";
export type { ArtifactFiles, Source } from "./source.js";
export type { PartOptions, StateSignature } from "./state.js";
export {
  type DataOf,
  fromBFloat16,
  fromFloat16,
  type Tensor,
  type TensorData,
  toBFloat16,
  toFloat16,
} from "./tensor.js";
export { TrainingSession } from "./train.js";
