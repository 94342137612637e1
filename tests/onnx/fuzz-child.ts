/**
 * Run by fuzz.test.ts and fuzz-long.ts in a process with limits: imports, compiles and runs damaged models, one line of output
 * for each. Arguments: seed, count.
 */
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { bytesOf, elementCount, setElement, type Tensor, zeros } from "../../ir/tensor.js";
import { defaults, type Feeds, load, type Session, type Signature } from "../../runtime/index.js";
import { conformanceTests } from "./data.js";
import { mutateBytes, mutateModel, type Random, random } from "./mutate.js";

const maxMemoryBytes = 2 ** 28;

/** Of one run. A file is run five times, within what fuzz-watch.ts gives it. */
const maxSeconds = 3;

/** Whole numbers as indices, counts and shapes come: plausible, a little outside, far outside. */
const RANGES = [
  [0, 1],
  [0, 3],
  [-3, 8],
  [-(2 ** 31), 2 ** 31 - 1],
] as const;
const SPECIAL = [Number.NaN, Infinity, -Infinity, -0, 1e30, 0.5];

/** Feeds of any sizes that the names allow to choose, and any values. */
function hostileFeeds(inputs: readonly Signature[], next: Random): Record<string, Tensor> {
  const sizes = new Map<string, number>();
  return Object.fromEntries(
    inputs.map(({ name, dtype, shape }) => {
      const dims = shape.map((d) => {
        if (typeof d === "number") return d;
        if (!sizes.has(d)) sizes.set(d, [1, 2, 3, 5, 8, 0][Math.floor(next() * 6)]!);
        return sizes.get(d)!;
      });
      const t = zeros(dtype, dims);
      const [low, high] = RANGES[Math.floor(next() * RANGES.length)]!;
      const special = next() < 0.2;
      for (let i = 0; i < elementCount(dims); i++) {
        if (dtypeInfo[dtype].kind !== "float") {
          const value = dtype === "bool" ? Math.round(next()) : low + Math.floor(next() * (high - low + 1));
          setElement(t, i, BigInt.asIntN(dtypeInfo[dtype].bits + 1, BigInt(value)));
        } else setElement(t, i, special && next() < 0.3 ? SPECIAL[Math.floor(next() * 6)]! : next() * 4 - 2);
      }
      return [name, t];
    }),
  );
}

/** Whatever a run gives or refuses, as text; undefined where it takes too long. */
async function resultOf(session: Session, feeds: Record<string, Tensor>): Promise<string | undefined> {
  try {
    const results = await session.run(feeds as Feeds, { maxSeconds });
    return JSON.stringify(results, (_, v) => (ArrayBuffer.isView(v) ? Array.from(bytesOf({ data: v } as Tensor)) : v));
  } catch (error) {
    if (!isRefusal(error)) throw error;
    if (error.message.includes(`took longer than ${maxSeconds} s`)) return undefined;
    return `refused: ${error.message}`;
  }
}

// The runtime's ModelError is a class of its own with the same name.
const isRefusal = (error: unknown): error is Error =>
  error instanceof ModelError || (error instanceof Error && error.name === "ModelError");

/** How far the file got, and what ended it if anything. */
async function outcome(bytes: Uint8Array, next: Random): Promise<{ stage: string; error?: unknown }> {
  let stage = "import";
  try {
    const graph = importOnnx(bytes, { maxUnknownSize: 64 });
    stage = "compile";
    const threads = next() < 0.1 ? 2 : 1;
    const variants = [threads === 2 ? ("simd128-threads" as const) : ("simd128" as const)];
    const artifact = await compile(graph, { variants, maxMemoryBytes });
    stage = "run";
    const session = await load(artifact, { threads, maxMemoryBytes });
    try {
      const feeds = hostileFeeds(session.inputs, next);
      const first = await resultOf(session, feeds);
      if (first === undefined) return { stage: "run" };
      // What other feeds leave in memory, and what they overwrite, must not show.
      for (let i = 0; i < 3; i++) await resultOf(session, hostileFeeds(session.inputs, next));
      const again = await resultOf(session, feeds);
      if (again !== undefined && first !== again)
        throw new Error(`other runs change a result:\n${first.slice(0, 500)}\n${again.slice(0, 500)}`);
      return { stage: first.startsWith("refused") ? "run" : "result" };
    } finally {
      session.dispose();
    }
  } catch (error) {
    return { stage, error };
  }
}

defaults.workerUrl = new URL("worker.mjs", import.meta.url);
const [seed = 0, count = 0] = process.argv.slice(2).map(Number);
const files = conformanceTests().filter((t) => t.suite !== "light" && t.model.length < 3000);
for (let i = 0; i < count; i++) {
  // Each file by its own seed, so that one can be made again by itself.
  const next = random(seed + i);
  const file = files[Math.floor(next() * files.length)]!;
  const damaged = (seed + i) % 8 === 0 ? mutateBytes(file.model, next) : mutateModel(file.model, next);
  // First, so that a hang has a name.
  console.log(JSON.stringify({ seed: seed + i, name: file.name }));
  const { stage, error } = await outcome(damaged, next);
  const crash = error === undefined || isRefusal(error) ? {} : { crash: String((error as Error).stack ?? error) };
  console.log(JSON.stringify({ seed: seed + i, name: file.name, stage, ...crash }));
}
