import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { exportOnnx } from "../onnx/export/export.js";
import { readOnnx } from "../onnx/model.js";
import { writeWhole } from "../write.js";
import { positive } from "./compile.js";
import { bytes, table } from "./format.js";
import { type ImportFlags, withImportFlags } from "./import-flags.js";
import { loadModel } from "./load-model.js";

interface ExportFlags extends ImportFlags {
  readonly out?: string;
  readonly weights?: string;
  readonly opset?: number;
  readonly entry?: string;
  readonly json?: boolean;
}

export function exportCommand(): Command {
  return withImportFlags(new Command("export"))
    .argument("<model>", ".onnx, .graph, .js, .mjs or .ts file")
    .option("-o, --out <file>", "where to write it (default: the model's name with .onnx)")
    .option("--weights <file>", "safetensors file, such as of a training session, whose weights replace the model's")
    .option("--opset <n>", "opset of the file (default: 20, or what the model needs)", positive)
    .option("--entry <name>", "which graph of a program (default: the one that predicts)")
    .option("--json", "report as JSON")
    .action(async (path: string, flags: ExportFlags) => {
      const model = await loadModel(path, flags);
      const file = exportOnnx(model.program, {
        ...(flags.weights ? { weights: new Uint8Array(await readFile(flags.weights)) } : {}),
        ...(flags.opset ? { opset: flags.opset } : {}),
        ...(flags.entry ? { entry: flags.entry } : {}),
      });
      const out = flags.out ?? `${model.name}.onnx`;
      await writeWhole(out, file);
      const { graph, opsets } = readOnnx(file);
      const report = { path: out, bytes: file.length, opset: opsets.get(""), nodes: graph.nodes.length };
      if (flags.json) console.log(JSON.stringify(report));
      else
        console.log(
          table([
            ["opset", String(report.opset)],
            ["nodes", String(report.nodes)],
            ["size", bytes(report.bytes)],
            ["file", out],
          ]),
        );
    });
}
