/**
 * Makes the benchmark models as files and prints where they are: `npx tsx bench/build-models.ts [filter …]`. Those that are there
 * stay until `--fresh` asks for new ones; those that other sources made are marked.
 */

import { statSync } from "node:fs";
import { Command } from "commander";
import { isStale, modelFiles } from "./models/cache.js";
import { benchModels } from "./models/index.js";

const command = new Command("build-models")
  .argument("[filter...]", "models whose names contain one of these")
  .option("--fresh", "also those that are there")
  .parse();
const { fresh = false } = command.opts<{ fresh?: boolean }>();

for (const model of benchModels.filter(
  ({ name }) => command.args.length === 0 || command.args.some((f) => name.includes(f)),
)) {
  const start = performance.now();
  const files = await modelFiles(model, { fresh });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const megabytes = (statSync(files.model).size / 1e6).toFixed(1);
  console.log(
    `${model.name.padEnd(24)} ${megabytes.padStart(8)} MB ${seconds.padStart(6)} s  ${files.model}${isStale(model) ? "  (of other sources)" : ""}`,
  );
}
