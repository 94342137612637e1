/** The commands: what the list of them says, and where each is loaded from when it runs. Loading all takes as long as many a command. */

import type { Command } from "commander";

interface Row {
  readonly argument: string;
  readonly description: string;
  /** It says what the others are. */
  readonly readsOthers?: true;
  /** Makes the command, without its description; it may add to that. */
  load(): Promise<() => Command>;
}

export const commands: Readonly<Record<string, Row>> = {
  compile: {
    argument: "<model>",
    description: "compile a model to an artefact: wasm variants, weights, typed glue",
    load: async () => (await import("./compile.js")).compileCommand,
  },
  run: {
    argument: "<model>",
    description: "run a model or an artefact once and print or store its outputs",
    load: async () => (await import("./run.js")).runCommand,
  },
  verify: {
    argument: "<model>",
    description: "compare a model's outputs with recorded ones, and find the first node that diverges",
    load: async () => (await import("./verify.js")).verifyCommand,
  },
  inspect: {
    argument: "<model>",
    description: "show a model at any stage of compilation, or what an artefact holds",
    load: async () => (await import("./inspect.js")).inspectCommand,
  },
  export: {
    argument: "<model>",
    description: "write a model as an ONNX file",
    load: async () => (await import("./export.js")).exportCommand,
  },
  explain: {
    argument: "<model>",
    description: "draw what a model of pictures looked at: saliency, integrated gradients, Grad-CAM …",
    load: async () => (await import("./explain.js")).explainCommand,
  },
  train: {
    argument: "<module>",
    description:
      "train a program: a module whose default export is made by trainStep, and that exports `dataset` (and `validation`, `fit`: { epochs, batchSize, callbacks })",
    load: async () => (await import("./train.js")).trainCommand,
  },
  bench: {
    argument: "<model>",
    description: "time a model or an artefact: load, first run, then the least and median of many runs",
    load: async () => (await import("./bench.js")).benchCommand,
  },
  profile: {
    argument: "<model>",
    description: "where the time of a run goes, by kernel and by layer, against what the machine can do",
    load: async () => (await import("./profile.js")).profileCommand,
  },
  dump: {
    argument: "<model>",
    description:
      "write every stage of compilation to files: graphs after each pass that changed them, kernels, wat, memory plan",
    load: async () => (await import("./dump.js")).dumpCommand,
  },
  opt: {
    argument: "<file>",
    description: "run graph passes alone on the text form and print the result",
    load: async () => (await import("./opt.js")).optCommand,
  },
  completion: {
    argument: "<shell>",
    description: "print what a shell is to run for completion, as in: source <(wasmith completion bash)",
    readsOthers: true,
    load: async () => (await import("./completion.js")).completionCommand,
  },
};
