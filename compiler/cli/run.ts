import { Command } from "commander";
import { writeSafetensors } from "../../runtime/safetensors.js";
import { factText } from "../late/facts.js";
import { randomFeeds } from "../random-feeds.js";
import { writeWhole } from "../write.js";
import { integer, positive, withCompileFlags } from "./compile.js";
import { readTensors } from "./feeds.js";
import { withKeyFlag } from "./key.js";
import { collectDim, type DimOption } from "./load-model.js";
import { type OpenFlags, openSession } from "./open.js";
import { openRunner, type Tensors } from "./runner.js";

export function runCommand(): Command {
  return withKeyFlag(withCompileFlags(new Command("run")))
    .description("run a model or an artefact once and print or store its outputs")
    .argument("<model>", "an artefact's .wasm, or a model to compile")
    .option("--inputs <file>", "safetensors file with a tensor for each input")
    .option("--random <seed>", "random inputs instead", integer)
    .option("--dim <name=value>", "size of a dim for random inputs, or of an ONNX file's dim; repeatable", collectDim)
    .option("--threads <n>", "threads", positive)
    .option("-o, --out <file>", "write the outputs to a safetensors file")
    .option("--json", "print the outputs as JSON")
    .action(async (path: string, flags: RunFlags) => {
      const outputs = flags.inputs ? await runWith(path, flags, flags.inputs) : await runRandom(path, flags);
      if (flags.out) {
        const tensors = Object.entries(outputs).map(([name, t]) => ({
          name,
          dtype: t.dtype,
          shape: t.shape,
          data: new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength),
        }));
        await writeWhole(flags.out, writeSafetensors(tensors));
      }
      if (flags.json) {
        const plain = Object.entries(outputs).map(([name, t]) => [
          name,
          {
            dtype: t.dtype,
            shape: t.shape,
            data: Array.from(t.data as ArrayLike<number | bigint>, (v) => (typeof v === "bigint" ? v.toString() : v)),
          },
        ]);
        console.log(JSON.stringify(Object.fromEntries(plain)));
      } else {
        for (const [name, t] of Object.entries(outputs)) {
          const values = Array.from({ length: Math.min(8, t.data.length) }, (_, i) => String(t.data[i]));
          console.log(`${name}: ${t.dtype}[${t.shape}] ${values.join(" ")}${t.data.length > 8 ? " …" : ""}`);
        }
      }
    });
}

interface RunFlags extends OpenFlags {
  readonly inputs?: string;
  readonly random?: number;
  readonly dim?: DimOption;
  readonly out?: string;
  readonly json?: boolean;
}

/** An ONNX file is compiled for the inputs; what they decided is told beside the output. */
async function runWith(path: string, flags: RunFlags, inputs: string): Promise<Tensors> {
  const runner = await openRunner(path, flags, flags.dim);
  try {
    const { outputs, bound } = await runner.run(await readTensors(inputs));
    for (const fact of bound.fixed) console.error(`compiled for these inputs: ${factText(fact)}`);
    return outputs;
  } finally {
    runner.dispose();
  }
}

async function runRandom(path: string, flags: RunFlags): Promise<Tensors> {
  const session = await openSession(path, flags);
  try {
    const feeds = randomFeeds(session.inputs, flags.dim ?? {}, flags.random ?? 0);
    return (await session.run(feeds as never)) as Tensors;
  } finally {
    session.dispose();
  }
}
