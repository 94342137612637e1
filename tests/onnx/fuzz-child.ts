/**
 * Run by fuzz.test.ts in a process with limits: imports, compiles and runs damaged models, one line of output for each.
 * Arguments: seed, count.
 */
import { randomFeeds } from "../../compiler/cli/feeds.js";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { ModelError } from "../../ir/errors.js";
import { load } from "../../runtime/index.js";
import { conformanceTests } from "./data.js";
import { mutateBytes, mutateModel, random } from "./mutate.js";

const maxMemoryBytes = 2 ** 28;

/** How far the file got, and what ended it if anything. */
async function outcome(bytes: Uint8Array, seed: number): Promise<{ stage: string; error?: unknown }> {
  let stage = "import";
  try {
    const graph = importOnnx(bytes, { maxUnknownSize: 64 });
    stage = "compile";
    const artifact = await compile(graph, { variants: ["simd128"], maxMemoryBytes });
    stage = "run";
    const session = await load(artifact, { threads: 1, maxMemoryBytes });
    try {
      await session.run(randomFeeds(session.inputs, {}, seed) as never);
    } finally {
      session.dispose();
    }
    return { stage: "result" };
  } catch (error) {
    return { stage, error };
  }
}

const [seed = 0, count = 0] = process.argv.slice(2).map(Number);
const files = conformanceTests().filter((t) => t.suite !== "light" && t.model.length < 3000);
const next = random(seed);
for (let i = 0; i < count; i++) {
  const file = files[Math.floor(next() * files.length)]!;
  const damaged = i % 4 === 0 ? mutateBytes(file.model, next) : mutateModel(file.model, next);
  // First, so that a hang has a name.
  console.log(JSON.stringify({ i, name: file.name }));
  const { stage, error } = await outcome(damaged, i);
  // The runtime's ModelError is a class of its own with the same name.
  const refused = error instanceof ModelError || (error instanceof Error && error.name === "ModelError");
  const text = error === undefined ? {} : refused ? { refused } : { crash: String((error as Error).stack ?? error) };
  console.log(JSON.stringify({ i, name: file.name, stage, ...text }));
}
