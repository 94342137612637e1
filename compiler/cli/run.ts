import { Command, InvalidArgumentError } from "commander";
import { ModelError } from "../../ir/errors.js";
import { factText } from "../late/facts.js";
import { randomFeeds } from "../random-feeds.js";
import { integer, positive, withCompileFlags } from "./compile.js";
import { collectDim, type DimOption } from "./dim-flag.js";
import { entryOf } from "./entry.js";
import { givenTensors, type InputFlags, type InputSpec, withInputFlags } from "./inputs.js";
import { withKeyFlag } from "./key.js";
import { type OpenFlags, openSession } from "./open.js";
import { asJson, inWords, type OutputFlags, withOutputFlags, writeOutputs } from "./outputs.js";
import { withPixelFlags } from "./pixel-flags.js";
import { openRunner, type Tensors } from "./runner.js";

export function runCommand(): Command {
  const command = withInputFlags(new Command("run"))
    .argument("<model>", "an artefact's .wasm, or a model to compile")
    .option("--random [seed]", "random values for inputs that are not given (seed: 0)", seed)
    .option("--dim <name=value>", "size of a dim for random inputs, or of an ONNX file's dim; repeatable", collectDim)
    .option("--entry <name>", "which entry, of a program with several (a training step learns)")
    .option("--threads <n>", "threads", positive);
  return withKeyFlag(withCompileFlags(withPixelFlags(withOutputFlags(command))))
    .option("--json", "print the outputs as JSON")
    .action(async (path: string, flags: RunFlags) => {
      const outputs = flags.random === undefined ? await runWith(path, flags) : await runRandom(path, flags);
      const paths = await writeOutputs(flags, outputs);
      if (flags.json) console.log(JSON.stringify(asJson(outputs)));
      else {
        console.log(inWords(outputs));
        for (const p of paths) console.log(p);
      }
    });
}

interface RunFlags extends OpenFlags, InputFlags, Omit<OutputFlags, "range"> {
  /** True: without a seed. */
  readonly random?: number | true;
  readonly dim?: DimOption;
  readonly entry?: string;
  readonly json?: boolean;
}

/** An ONNX file is compiled for the inputs; what they decided is told beside the output. */
async function runWith(path: string, flags: RunFlags): Promise<Tensors> {
  const runner = await openRunner(path, flags, flags.dim);
  try {
    const given = await givenTensors(flags, runner.inputs, runner.specOf);
    if (Object.keys(given).length === 0 && runner.inputs.length > 0)
      throw new ModelError({
        where: path,
        message: `no input is given; it takes ${runner.inputs.map(specText).join(", ")}`,
        hint: "--input NAME=FILE gives one, --inputs FILE all of them, --random random ones",
      });
    const { outputs, bound } = await runner.run(given);
    for (const fact of bound.fixed) console.error(`compiled for these inputs: ${factText(fact)}`);
    return outputs;
  } finally {
    runner.dispose();
  }
}

const specText = ({ name, dtype, shape }: InputSpec): string =>
  `${name}${dtype === undefined ? "" : `: ${dtype}`}${shape === undefined ? "" : `[${shape.map((d) => d ?? "?").join(", ")}]`}`;

/** Sizes that given inputs have where the model has a name. */
const dimsShown = (inputs: readonly InputSpec[], given: Tensors): DimOption =>
  Object.fromEntries(
    inputs.flatMap(({ name, shape = [] }) =>
      shape.flatMap((d, axis) =>
        typeof d === "string" && given[name] ? [[d, given[name].shape[axis]!] as const] : [],
      ),
    ),
  );

function seed(text: string): number {
  try {
    return integer(text);
  } catch {
    throw new InvalidArgumentError("give a whole number, or nothing; the model's name goes before it");
  }
}

async function runRandom(path: string, flags: RunFlags): Promise<Tensors> {
  const session = await openSession(path, flags);
  try {
    const { name: entry, inputs } = entryOf(session, flags.entry);
    const given = await givenTensors(flags, inputs, (name) => inputs.find((i) => i.name === name));
    const dims = { ...dimsShown(inputs, given), ...flags.dim };
    const random = randomFeeds(inputs, dims, flags.random === true ? 0 : flags.random!);
    return (await session.run({ ...random, ...given } as never, { entry })) as Tensors;
  } finally {
    session.dispose();
  }
}
