/**
 * The command line: `wasmith COMMAND …`. Exit codes: 0 done, 1 the model or input is wrong, 2 wrong usage, 70 a bug in wasmith, 128 + n ended by
 * signal n.
 */

import { Command, CommanderError } from "commander";
import pc from "picocolors";
import { ModelError } from "../../ir/errors.js";
import { version } from "../version.js";
import { commands } from "./commands.js";

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
const [asked, of] = process.argv.slice(2);
for (const [name, { argument, description, load }] of Object.entries(commands)) {
  const runs =
    name === asked || (asked === "help" && name === of) || (asked !== undefined && commands[asked]?.readsOthers);
  // Of the others, only what the list says.
  const command = runs ? (await load())() : new Command(name).argument(argument).option("--help");
  program.addCommand(
    command
      .description([description, command.description()].filter((text) => text !== "").join(". "))
      .exitOverride()
      .configureOutput(output)
      .showHelpAfterError(`(see wasmith ${name} --help)`),
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
