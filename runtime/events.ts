/** What `fit` takes and tells: options, callbacks, events. */
import type { Dataset } from "./dataset.js";
import type { History } from "./history.js";
import type { StateSignature } from "./state.js";
import type { Tensor, TensorData } from "./tensor.js";

/** Means over a batch or over a data set. */
export interface Measures {
  readonly loss: number;
  readonly metrics: Readonly<Record<string, number>>;
}

export interface BatchEvent extends Measures {
  readonly epoch: number;
  /** Batch of this epoch, from 0; and how many it has, if known. */
  readonly batch: number;
  readonly batches: number | null;
}
export interface EpochEvent extends Measures {
  readonly epoch: number;
  readonly seconds: number;
  /** After the epoch; null where the graph's own schedule sets it. */
  readonly learningRate: number | null;
  readonly validation: Measures | null;
}

export interface BeginEvent {
  readonly session: FitSession;
  /** Numbers of the first epoch to come and of the one after the last. */
  readonly epoch: number;
  readonly end: number;
  /** Whether the run goes on from a checkpoint. */
  readonly resumed: boolean;
  /** What the callback's own `state` gave when the checkpoint was made. */
  readonly state?: CallbackState | undefined;
  /** What the events will hold: `loss`, names of metrics, and both as `validation.NAME` where there is a validation. */
  readonly measures: readonly string[];
}

/** What callbacks may do with the session that trains, between batches. */
export interface FitSession {
  learningRate: number;
  readonly state: readonly StateSignature[];
  getState(name: string): Tensor;
  setState(name: string, value: Tensor | TensorData): void;
  save(path?: string | URL): Promise<Uint8Array<ArrayBuffer>>;
}

export interface EndEvent {
  readonly history: History;
  /** What ended the run before its time. */
  readonly error: unknown;
}

/** What a callback has seen. */
export interface CallbackState {
  /** As JSON holds it; numbers may be NaN or infinite. */
  readonly values: unknown;
  readonly tensors?: Readonly<Record<string, Tensor>> | undefined;
}

/**
 * Awaited before training goes on. Returning (or resolving to) false from onBatch or onEpoch ends it after this batch or epoch.
 * `wasmith/callbacks` has ready ones.
 */
export interface Callbacks {
  /** Of its state in checkpoints. */
  readonly name?: string | undefined;
  /** What it has seen, for checkpoints: `onBegin` gets it when training goes on from one. */
  state?(): CallbackState;
  onBegin?(event: BeginEvent): unknown;
  /** Also after an error, once for each onBegin. */
  onEnd?(event: EndEvent): unknown;
  onBatch?(event: BatchEvent): unknown;
  onEpoch?(event: EpochEvent): unknown;
}

export interface FitOptions {
  /** How many epochs to train. After `restore`: counted from where the run began that was saved. Default 1. */
  readonly epochs?: number | undefined;
  /** Number of the first epoch, which decides how samples are shuffled. Default: 0, or where the restored checkpoint stood. */
  readonly firstEpoch?: number | undefined;
  /**
   * For data sets of arrays. Default: the model's own size, or 32. What remains at the end makes a smaller batch, or is left
   * out where the model was compiled for a fixed size.
   */
  readonly batchSize?: number | undefined;
  /** Seed of the order of samples in arrays, or false: as they lie. Default 0. What else comes in its own order; a seed is an error there. */
  readonly shuffle?: number | false | undefined;
  readonly validation?: Dataset | undefined;
  /**
   * Ends the training with an error when the loss of a batch, or of the validation, or a gradient is NaN or infinite, before it changes
   * anything.
   * Default true. `step` and `evaluate` give the loss as it is.
   */
  readonly checkFinite?: boolean | undefined;
  readonly callbacks?: Callbacks | readonly Callbacks[] | undefined;
  /** Ends the training between two steps, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** A bar in Node's terminal. Default: where standard error is one. Use callbacks elsewhere. */
  readonly progress?: boolean | undefined;
}
