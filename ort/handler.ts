/** A session behind onnxruntime's API: what `InferenceSession` and onnxruntime-common's registry of backends call. */

import { inputsFrom, outputsFrom } from "../compiler/late/binding.js";
import { flattenFeeds, type ModelFeeds } from "../compiler/late/feeds.js";
import type { OnnxValueInfo } from "../compiler/onnx/model.js";
import type { Tensor as PlainTensor } from "../ir/tensor.js";
import type { OutputForm, Specialization } from "../runtime/format.js";
import type { Feeds, Session } from "../runtime/index.js";
import type { Artifacts } from "./artifacts.js";
import { feedOf, fill, type OnnxValue, ortValueOf } from "./convert.js";
import { type ModelFace, metadataOf, type ValueMetadata } from "./face.js";
import { checkRunOptions, type RunOptions } from "./options.js";
import { Profile } from "./profile.js";
import { Tensor } from "./tensor.js";

export type FeedsType = Readonly<Record<string, OnnxValue | undefined>>;
/** Wanted outputs by name: null, or a tensor that the result is written to. */
export type FetchesType = Readonly<Record<string, OnnxValue | null>>;
type Results = Record<string, OnnxValue>;

/** Where a model's runs happen. */
export interface Engine {
  readonly face: ModelFace;
  /** Runs `use` with a session that serves the feeds, its inputs, and what the model's outputs are made of. */
  with<T>(
    feeds: ModelFeeds,
    use: (session: Session, inputs: Feeds, outputs: Specialization["outputs"]) => Promise<T>,
  ): Promise<T>;
  dispose(): void;
}

/** Names of the results that an output is made of. */
const resultsOf = (form: OutputForm): readonly string[] => {
  switch (form.kind) {
    case "tensor":
    case "stacked":
      return [form.output];
    case "sequence":
      return form.items.flatMap(resultsOf);
    case "absent":
      return [];
    default:
      return form satisfies never;
  }
};

const namesOf = (values: readonly OnnxValueInfo[]): readonly string[] => values.map(({ name }) => name);

export class Handler {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly ValueMetadata[];
  readonly outputMetadata: readonly ValueMetadata[];
  private readonly engine: Engine;
  private profile: Profile | undefined;

  constructor(engine: Engine, isProfiling = false) {
    this.engine = engine;
    const { inputs, outputs } = engine.face;
    this.inputNames = namesOf(inputs);
    this.outputNames = namesOf(outputs);
    this.inputMetadata = inputs.map(metadataOf);
    this.outputMetadata = outputs.map(metadataOf);
    if (isProfiling) this.startProfiling();
  }

  /** Whether an input may be left out. */
  isOptional(name: string): boolean {
    return this.engine.face.inputs.some((i) => i.name === name && i.type?.kind === "optional");
  }

  /** @throws ModelError naming inputs that do not fit, or what can't be compiled or run */
  async run(feeds: FeedsType, fetches: FetchesType, options: RunOptions = {}): Promise<Results> {
    checkRunOptions(options);
    const given: Record<string, ModelFeeds[string]> = {};
    for (const [name, value] of Object.entries(feeds)) if (value !== undefined) given[name] = feedOf(name, value);
    return this.engine.with(given, async (session, inputs, outputs) => {
      const wanted = outputs.filter(({ name }) => Object.hasOwn(fetches, name));
      const names = [...new Set(wanted.flatMap(({ form }) => resultsOf(form)))];
      const results = await session.run(inputs, { outputs: names, signal: options.signal });
      await this.profile?.add(session, inputs);
      const values = outputsFrom(wanted, results as Readonly<Record<string, PlainTensor>>);
      return Object.fromEntries(
        Object.entries(values).map(([name, result]) => {
          const value = ortValueOf(result);
          const into = fetches[name];
          return [name, into instanceof Tensor ? fill(name, into, value) : value];
        }),
      );
    });
  }

  /** From now on runs are timed step by step, which takes them twice as long. */
  startProfiling(): void {
    this.profile ??= new Profile();
  }

  /** Prints what the steps of runs since `startProfiling` took. */
  endProfiling(): void {
    this.profile?.print();
    this.profile = undefined;
  }

  async dispose(): Promise<void> {
    if (this.profile) this.endProfiling();
    this.engine.dispose();
  }
}

/** Runs whatever artefact serves the feeds. */
export function lateEngine(face: ModelFace, artifacts: Artifacts): Engine {
  return {
    face,
    with(feeds, use) {
      const flat = flattenFeeds(face.inputs, feeds, { overridable: face.overridable });
      return artifacts.with(face, flat, feeds, ({ session, terms, outputs }) =>
        use(session, inputsFrom(terms, flat), outputs),
      );
    },
    dispose: () => artifacts.dispose(),
  };
}

/** Runs one artefact, which was compiled ahead of time. @throws ModelError where it is no model with inputs and outputs alone */
export function aheadEngine(session: Session, face: ModelFace): Engine {
  const outputs = face.outputs.map(({ name }) => ({ name, form: { kind: "tensor", output: name } as const }));
  return {
    face,
    with: (feeds, use) => use(session, feeds as Feeds, outputs),
    dispose: () => session.dispose(),
  };
}
