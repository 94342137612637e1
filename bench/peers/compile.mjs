/** Compiles one ONNX file into a folder, in a process of its own, and prints what it took as a line of JSON. */
import { readFileSync } from "node:fs";
import { compile, importOnnx } from "../../dist/wasmith.js";

const [path, out, variants, fixed = "{}"] = process.argv.slice(2);
const start = performance.now();
const values = Object.fromEntries(
  Object.entries(JSON.parse(fixed)).map(([name, v]) => [
    name,
    { dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(v)) },
  ]),
);
const graph = importOnnx(readFileSync(path), { values });
const imported = performance.now() - start;
const artifact = await compile(graph, {
  name: "model",
  ...(variants === "all" ? {} : { variants: variants.split(",") }),
});
await artifact.write(out);
console.log(
  JSON.stringify({
    imported,
    total: performance.now() - start,
    stages: artifact.stages,
    rss: process.resourceUsage().maxRSS * 1024,
    code: artifact.wasm[Object.keys(artifact.wasm)[0]].length,
    weights: artifact.weights.length,
  }),
);
process.exit(0);
