/** Reads a module that is to be trained, and trains it. */

import { basename, dirname, resolve } from "node:path";
import { describe } from "../../ir/describe.js";
import { ModelError } from "../../ir/errors.js";
import { History } from "../../runtime/history.js";
import type { Callbacks, Dataset, EpochEvent, FitOptions, TrainingSession } from "../../runtime/index.js";
import type { Program } from "../program.js";
import { loadModel, ofUser } from "./load-model.js";
import type { Figures, Goal, TrainModule } from "./train-types.js";

type Exports = Readonly<Record<string, unknown>>;

/**
 * @param path .js, .mjs or .ts file, or a folder with train.ts
 * @throws ModelError naming the export that is missing or of another kind
 */
export async function readTrainModule(path: string, seed?: number): Promise<TrainModule> {
  const { program, name, exports, file } = await loadModel(path, { seed });
  return trainModuleOf(path, name === "train" ? basename(dirname(resolve(file))) : name, program, exports, seed);
}

/** @param path is what errors name */
export async function trainModuleOf(
  path: string,
  name: string,
  program: Program,
  exports: Exports,
  seed?: number,
): Promise<TrainModule> {
  const data = {
    dataset: await given(path, exports.dataset, seed),
    validation: await given(path, exports.validation, seed),
  };
  const own = {
    train: functionOf<TrainModule["train"]>(path, exports, "train"),
    measure: functionOf<TrainModule["measure"]>(path, exports, "measure"),
    show: functionOf<TrainModule["show"]>(path, exports, "show"),
  };
  if (own.train === undefined && (!program.training?.fit || data.dataset === undefined))
    throw new ModelError({
      where: path,
      message: data.dataset === undefined ? "it exports no `dataset`" : "its default export is not a training program",
      hint: "export default trainStep(…), and export const dataset = { x, y } (or a function that returns it); or export a loop of your own: async function train(session, run)",
    });
  return {
    name,
    program,
    ...present(data),
    ...present(own),
    fit: (exports.fit ?? {}) as TrainModule["fit"],
    ...(exports.goal === undefined ? {} : { goal: goalOf(path, exports.goal) }),
  };
}

/**
 * Trains by the module's own loop, or by `fit`.
 *
 * @param options.saved is called where the state is worth keeping: after each round, and before `fit` forgets where it stands
 * @returns curves, and the figures of the trained model
 */
export async function trainModule(
  path: string,
  module: TrainModule,
  session: TrainingSession,
  options: {
    readonly epochs?: number | undefined;
    readonly batchSize?: number | undefined;
    readonly seed?: number | undefined;
    readonly signal: AbortSignal;
    /** @param end number of the epoch after the last */
    readonly onEpoch?: (event: EpochEvent, end: number) => void;
    readonly saved?: () => Promise<void>;
    readonly progress?: boolean;
  },
): Promise<{ readonly history: History; readonly figures: Figures }> {
  const history = await ofUser(path, () =>
    module.train ? ownLoop(module, session, options) : fitted(module, session, options),
  );
  const measured = module.measure && (await ofUser(path, () => module.measure!(session)));
  const validation = history.at(-1)?.validation;
  return { history, figures: measured ?? (validation ? { loss: validation.loss, ...validation.metrics } : {}) };
}

type TrainOptions = Parameters<typeof trainModule>[3];

/** Data sets may be generators, whose code is the user's. */
const fitted = (
  { dataset, validation, fit }: TrainModule,
  session: TrainingSession,
  { epochs, batchSize, seed, signal, onEpoch, saved, progress }: TrainOptions,
): Promise<History> => {
  let end = 0;
  const first: Callbacks = {
    onBegin(event) {
      ({ end } = event);
    },
    // While fit still knows where it stands, and before callbacks put back weights of an epoch before: --resume goes on from here.
    onEnd: () => saved?.(),
  };
  // When all callbacks have seen the epoch.
  const last: Callbacks = {
    async onEpoch(event) {
      await saved?.();
      onEpoch?.(event, end);
    },
  };
  return session.fit(dataset!, {
    epochs: epochs ?? fit.epochs,
    batchSize: batchSize ?? fit.batchSize,
    shuffle: isArrays(dataset) ? seed : undefined,
    validation,
    signal,
    progress,
    callbacks: [first, ...[fit.callbacks ?? []].flat(), last],
  } as FitOptions);
};

/** Data sets of other kinds come in their own order. */
export const isArrays = (dataset: Dataset | undefined): boolean =>
  typeof dataset === "object" &&
  !("batches" in dataset) &&
  !(Symbol.iterator in dataset) &&
  !(Symbol.asyncIterator in dataset);

async function ownLoop(
  { train, fit }: TrainModule,
  session: TrainingSession,
  { epochs, seed, signal, onEpoch, saved }: TrainOptions,
): Promise<History> {
  const history = new History();
  let begin = performance.now();
  const rounds = epochs ?? fit.epochs ?? 1;
  await train!(session, {
    epochs: rounds,
    seed: seed ?? 0,
    signal,
    report: async ({ loss = Number.NaN, ...metrics }) => {
      const seconds = (performance.now() - begin) / 1000;
      const event = { epoch: history.length, loss, metrics, validation: null, seconds, learningRate: null };
      history.push(event);
      await saved?.();
      onEpoch?.(event, rounds);
      begin = performance.now();
      signal.throwIfAborted();
    },
  });
  return history;
}

/** The properties that are there. */
const present = <T extends object>(of: T) =>
  Object.fromEntries(Object.entries(of).filter(([, value]) => value !== undefined)) as {
    readonly [K in keyof T]?: Exclude<T[K], undefined>;
  };

async function given(path: string, value: unknown, seed = 0): Promise<Dataset | undefined> {
  return (typeof value === "function" ? await ofUser(path, () => value({ seed }) as unknown) : await value) as
    | Dataset
    | undefined;
}

function functionOf<F>(path: string, exports: Exports, name: string): F | undefined {
  const value = exports[name];
  if (value !== undefined && typeof value !== "function")
    throw new ModelError({
      where: path,
      message: `its export ${name} should be a function, and is ${describe(value)}`,
    });
  return value as F | undefined;
}

function goalOf(path: string, value: unknown): Goal {
  const { figure, atLeast, atMost, baseline } = (value ?? {}) as { readonly [K in keyof Goal]: unknown };
  const isBound = (bound: unknown) => bound === undefined || typeof bound === "number";
  const { name, value: reached } = (baseline ?? {}) as { readonly [K in keyof Goal["baseline"]]: unknown };
  const fits = typeof figure === "string" && isBound(atLeast) && isBound(atMost) && (atLeast ?? atMost) !== undefined;
  if (!fits || typeof name !== "string" || typeof reached !== "number")
    throw new ModelError({
      where: path,
      message: `its export goal is ${describe(value)}`,
      hint: 'write { figure: "accuracy", atLeast: 0.9, baseline: { name: "majority", value: 0.5 } }',
    });
  return value as Goal;
}
