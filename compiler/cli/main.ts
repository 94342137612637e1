/**
 * The command line: `wasmith COMMAND …`. Exit codes: 0 done, 1 the model or input is wrong, 2 wrong usage, 70 a bug in wasmith, 128 + n ended by
 * signal n.
 */

import { Command, CommanderError } from "commander";
import pc from "picocolors";
import { ModelError } from "../../ir/errors.js";
import { version } from "../version.js";
import { benchCommand } from "./bench.js";
import { compileCommand } from "./compile.js";
import { completionCommand } from "./completion.js";
import { dumpCommand } from "./dump.js";
import { explainCommand } from "./explain.js";
import { exportCommand } from "./export.js";
import { inspectCommand } from "./inspect.js";
import { optCommand } from "./opt.js";
import { profileCommand } from "./profile.js";
import { runCommand } from "./run.js";
import { trainCommand } from "./train.js";
import { verifyCommand } from "./verify.js";

/** On one line, with what was probably meant. */
const output = {
  outputError: (text: string, write: (text: string) => void) => write(text.replace(/\n(?=\(Did you mean)/, " ")),
};

const program = new Command("wasmith")
  .description("Compiles neural networks to WebAssembly SIMD, runs and trains them.")
  .version(version)
  .showHelpAfterError("(see wasmith --help)")
  .configureOutput(output)
  .exitOverride();
for (const command of [
  compileCommand,
  runCommand,
  verifyCommand,
  inspectCommand,
  exportCommand,
  explainCommand,
  trainCommand,
  benchCommand,
  profileCommand,
  dumpCommand,
  optCommand,
  completionCommand,
]) {
  const made = command();
  program.addCommand(
    made.exitOverride().configureOutput(output).showHelpAfterError(`(see wasmith ${made.name()} --help)`),
  );
}

// Whoever reads the output may have had enough (`wasmith inspect … | head`).
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

/** Errors of the runtime are of its own class of the same name. */
const isModelError = (error: unknown): error is Error =>
  error instanceof ModelError || (error instanceof Error && error.name === "ModelError");

try {
  await program.parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else if (isModelError(error)) {
    console.error(`${pc.red("error:")} ${error.message}`);
    process.exitCode = 1;
  } else {
    const { syscall, message } = error as NodeJS.ErrnoException;
    // Of the file system, about a file that the user named.
    if (syscall !== undefined) {
      console.error(`${pc.red("error:")} ${message}`);
      process.exitCode = 1;
    } else {
      console.error(error);
      process.exitCode = 70;
    }
  }
}
