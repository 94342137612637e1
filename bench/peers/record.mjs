/** Adds to a file of inputs what onnxruntime's native build makes of them. Arguments: the model, the file. */
import { readFileSync, writeFileSync } from "node:fs";
import ort from "onnxruntime-node";
import { openWith } from "./onnxruntime.mjs";
import { encodeCases, parseCases } from "./tensors.mjs";

const [path, io] = process.argv.slice(2);
const run = await openWith(ort, path, { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 });
const cases = parseCases(readFileSync(io));
for (const c of cases) c.out = await run(c.in);
writeFileSync(io, encodeCases(cases));
