/** The command line starts without what it does not need: `--help` and `--version` take the time of Node itself and little more. */

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { commands } from "../../compiler/cli/commands.js";

const cli = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

it.skipIf(!existsSync(cli))("loads the compiler only for the command that runs", () => {
  const files = new Set([cli]);
  for (const file of files)
    for (const [, path] of readFileSync(file, "utf8").matchAll(/^(?:import|export)[^"']*["'](\.[^"']+)["'];?$/gm))
      files.add(join(dirname(file), path!));
  const bytes = [...files].reduce((sum, file) => sum + readFileSync(file).length, 0);
  expect(bytes).toBeLessThan(200_000);
});

it("lists commands as they are", async () => {
  for (const [name, { argument, description, load }] of Object.entries(commands)) {
    const command = (await load())();
    expect(command.name()).toBe(name);
    expect(command.registeredArguments.map((a) => `<${a.name()}>`)).toEqual([argument]);
    expect(description).not.toBe("");
  }
});
