/** Where a run of `fit` stands, as checkpoints hold it. */
import type { BatchEvent, CallbackState, Callbacks, EpochEvent, Measures } from "./events.js";
import type { Place } from "./store.js";
import type { Tensor } from "./tensor.js";

/** An event that some of the callbacks had when the checkpoint was made, by one of them. */
export interface Told {
  readonly event: BatchEvent | EpochEvent;
  readonly of: "onBatch" | "onEpoch";
  /** The first one that had it not. */
  readonly from: number;
  /** Whether none of those before ended the training. */
  readonly going: boolean;
}

export interface Position {
  readonly first: number;
  readonly epoch: number;
  /** Batches of the epoch that are done, and the means over them. */
  readonly batch: number;
  readonly mean: { readonly values: readonly number[]; readonly weight: number };
  /** Of the epoch, where only its validation is left. */
  readonly measured: Measures | null;
  readonly shuffle: number | false;
  readonly batchSize: number | null;
  readonly told: Told | null;
  /** By callbacks' names. */
  readonly callbacks: Readonly<Record<string, CallbackState>>;
}

const words = ["NaN", "Infinity", "-Infinity"];
/** JSON has no numbers that are not finite. */
const toJson = (_: string, v: unknown): unknown => (typeof v === "number" && !Number.isFinite(v) ? String(v) : v);
const fromJson = (_: string, v: unknown): unknown => (words.includes(v as string) ? Number(v) : v);

/** Names of callbacks, of which there may be several of a kind. */
function namesOf(callbacks: readonly Callbacks[]): readonly string[] {
  const seen = new Map<string, number>();
  return callbacks.map(({ name = "callback" }) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? name : `${name} ${count}`;
  });
}

/** What a checkpoint holds. What callbacks have seen is asked of them now. */
export function placeOf(position: Omit<Position, "callbacks">, callbacks: readonly Callbacks[]): Place {
  const names = namesOf(callbacks);
  const tensors: Record<string, Tensor> = {};
  const states: Record<string, CallbackState> = {};
  callbacks.forEach((c, i) => {
    const state = c.state?.();
    if (!state) return;
    states[names[i]!] = { values: state.values };
    for (const [key, t] of Object.entries(state.tensors ?? {})) tensors[`${names[i]}/${key}`] = t;
  });
  return { text: JSON.stringify({ ...position, callbacks: states }, toJson), tensors };
}

export function positionOf({ text, tensors }: Place): Position {
  // Other loaders of artefacts write less.
  const none = { told: null, measured: null, callbacks: {} };
  const position: Position = { ...none, ...(JSON.parse(text, fromJson) as Position) };
  const callbacks = Object.entries(position.callbacks).map(([name, { values }]) => {
    const own = Object.entries(tensors).filter(([key]) => key.startsWith(`${name}/`));
    return [name, { values, tensors: Object.fromEntries(own.map(([key, t]) => [key.slice(name.length + 1), t])) }];
  });
  return { ...position, callbacks: Object.fromEntries(callbacks) };
}

/** What each callback had seen. */
export const statesOf = (
  saved: Position | null,
  callbacks: readonly Callbacks[],
): readonly (CallbackState | undefined)[] => namesOf(callbacks).map((name) => saved?.callbacks[name]);
