/**
 * One first answer, as a program has it that was just started: milliseconds from importing an engine to the first result of a model, whose bytes
 * are in a file. Prints JSON.
 *
 *     node bench/peers/first-answer.mjs ENGINE MODEL CASES [CACHE]
 */
import { readFileSync } from "node:fs";

const [, , engine, path, casesPath, cache] = process.argv;
const types = {
  f32: "float32",
  f16: "float16",
  i64: "int64",
  i32: "int32",
  u8: "uint8",
  i8: "int8",
  bool: "bool",
  f64: "float64",
};
const { parseCases } = await import("./tensors.mjs");
const [{ in: inputs }] = parseCases(readFileSync(casesPath));

const began = performance.now();
const ort = await import(engine === "wasmith" ? "../../dist/ort.js" : engine);
const imported = performance.now();
if (engine === "wasmith") ort.env.wasmith.cache = cache;
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const session = await ort.InferenceSession.create(engine === "wasmith" ? path : readFileSync(path), {
  executionProviders: ["wasm"],
});
const created = performance.now();
const feeds = Object.entries(inputs).map(([name, { dtype, shape, data }]) => [
  name,
  new ort.Tensor(types[dtype], data, shape),
]);
await session.run(Object.fromEntries(feeds));
const answered = performance.now();
console.log(
  JSON.stringify({
    import: imported - began,
    create: created - imported,
    run: answered - created,
    all: answered - began,
  }),
);
process.exit(0);
