/** Reads a module that is to be trained, and trains it. */

import { basename, dirname, resolve } from "node:path";
import { describe } from "../../ir/describe.js";
import { ModelError } from "../../ir/errors.js";
import { History } from "../../runtime/history.js";
import type { Dataset, EpochEvent, FitOptions, TrainingSession } from "../../runtime/index.js";
import type { Program } from "../program.js";
import { loadModel, ofUser } from "./load-model.js";
import type { Figures, Goal, TrainModule } from "./train-types.js";

type Exports = Readonly<Record<string, unknown>>;

/**
 * @param path .js, .mjs or .ts file, or a folder with train.ts
 * @throws ModelError naming the export that is missing or of another kind
 */
export async function readTrainModule(path: string): Promise<TrainModule> {
  const { program, name, exports, file } = await loadModel(path);
  return trainModuleOf(path, name === "train" ? basename(dirname(resolve(file))) : name, program, exports);
}

/** @param path is what errors name */
export async function trainModuleOf(
  path: string,
  name: string,
  program: Program,
  exports: Exports,
): Promise<TrainModule> {
  const data = { dataset: await given(path, exports.dataset), validation: await given(path, exports.validation) };
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
    readonly onEpoch?: (event: EpochEvent) => void;
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
): Promise<History> =>
  session.fit(dataset!, {
    epochs: epochs ?? fit.epochs,
    batchSize: batchSize ?? fit.batchSize,
    shuffle: seed,
    validation,
    signal,
    progress,
    callbacks: {
      onEpoch: async (event) => {
        await saved?.();
        onEpoch?.(event);
      },
      // While fit still knows where it stands, so that --resume goes on there, or has nothing left to do.
      onEnd: () => saved?.(),
    },
  } as FitOptions);

async function ownLoop(
  { train, fit }: TrainModule,
  session: TrainingSession,
  { epochs, seed, signal, onEpoch, saved }: TrainOptions,
): Promise<History> {
  const history = new History();
  let begin = performance.now();
  await train!(session, {
    epochs: epochs ?? fit.epochs ?? 1,
    seed: seed ?? 0,
    signal,
    report: async ({ loss = Number.NaN, ...metrics }) => {
      const seconds = (performance.now() - begin) / 1000;
      const event = { epoch: history.length, loss, metrics, validation: null, seconds, learningRate: null };
      history.push(event);
      await saved?.();
      onEpoch?.(event);
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

async function given(path: string, value: unknown): Promise<Dataset | undefined> {
  return (typeof value === "function" ? await ofUser(path, value as () => unknown) : await value) as
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
