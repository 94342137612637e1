/** Runs the built command line in a folder of its own. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const cli = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));
export const isBuilt = existsSync(cli);
/** What a user's module imports. */
export const packageUrl = new URL("../../dist/wasmith.js", import.meta.url).href;

export interface Answer {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class CommandLine {
  readonly folder = mkdtempSync(join(tmpdir(), "wasmith-cli-"));

  run(...args: string[]): Answer {
    const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], {
      cwd: this.folder,
      encoding: "utf8",
      // In continuous integration it is in colour elsewhere than on terminals too.
      env: { ...process.env, NO_COLOR: "1" },
    });
    return { status, stdout, stderr };
  }

  path(name: string): string {
    return join(this.folder, name);
  }
}
