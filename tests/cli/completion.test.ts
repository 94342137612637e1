/** Completion in shells, by what `wasmith completion` prints. */

import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { CommandLine, isBuilt } from "./command-line.js";

const line = new CommandLine();
afterAll(() => rmSync(line.folder, { recursive: true, force: true }));
const has = (shell: string) => spawnSync(shell, ["-c", "exit 0"]).status === 0;

describe.runIf(isBuilt)("wasmith completion", () => {
  it.runIf(has("bash"))("completes commands, options, values and files in bash", () => {
    const { stdout, stderr } = line.run("completion", "bash");
    expect(stderr).toBe("");
    const completed = (...words: string[]): readonly string[] => {
      const given = words.map((w) => `'${w}'`).join(" ");
      const call = `COMP_WORDS=(wasmith ${given}); COMP_CWORD=${words.length}; _wasmith; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { stdout: said, stderr: wrong } = spawnSync("bash", ["-c", `${stdout}\n${call}`], {
        cwd: line.folder,
        encoding: "utf8",
      });
      expect(wrong).toBe("");
      return said.trim() === "" ? [] : said.trim().split("\n");
    };
    expect(completed("comp")).toEqual(["compile", "completion"]);
    expect(completed("compile", "--ke")).toEqual(["--keep", "--key"]);
    expect(completed("compile", "m.onnx", "--keep", "")).toEqual(["small", "auto", "fast"]);
    expect(completed("run", "-")).toEqual(expect.arrayContaining(["-i", "--input", "--random", "-h", "--help"]));
    expect(completed("completion", "f")).toEqual(["fish"]);
    expect(completed("help", "tr")).toEqual(["train"]);
    writeFileSync(line.path("model.onnx"), "");
    expect(completed("run", "mod")).toEqual(["model.onnx"]);
  });

  it.each(["zsh", "fish"] as const)("is a program of %s", (shell) => {
    const { stdout, status } = line.run("completion", shell);
    expect(status).toBe(0);
    // All that commands say of their options.
    expect(stdout.match(/small auto fast/g)!.length).toBeGreaterThanOrEqual(6);
    if (has(shell)) {
      const check = spawnSync(shell, ["-n", "-c", stdout], { encoding: "utf8" });
      expect(check.stderr).toBe("");
    }
  });

  it("says which shells there are", () => {
    expect(line.run("completion", "sh")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("bash, zsh, fish"),
    });
  });
});
