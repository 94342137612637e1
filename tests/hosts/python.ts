/** Python with the package wasmtime, where there is one. */
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** What `pip install --target` put there, before what Python has itself; and the loader. */
export const pythonEnv = {
  ...process.env,
  PYTHONPATH: [here("../../hosts/python"), here("python_modules"), process.env.PYTHONPATH]
    .filter(Boolean)
    .join(delimiter),
  PYTHONDONTWRITEBYTECODE: "1",
};

const imports = (name: string): boolean => {
  try {
    execFileSync("python3", ["-c", `import ${name}`], { env: pythonEnv, stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
};

export const hasNumpy = imports("numpy");

/** Why Python can't run models here, or null. */
export const pythonObstacle = imports("wasmtime") ? null : "no python3 with the package wasmtime";

/** Method of the session (or `load`), positional arguments, named arguments. */
export type Call = readonly [method: string, positional: readonly unknown[], named?: Readonly<Record<string, unknown>>];

/** What a call gave, as JSON: tensors as a file, errors as name and message. */
export interface Answer {
  readonly error: string;
  readonly message: string;
  readonly file: string;
  readonly bytes: number;
  readonly [name: string]: unknown;
}

/** Makes the calls of each job with a session of its own; what they give, in order. `folder` keeps results. */
export async function callPython(
  folder: string,
  jobs: readonly (readonly Call[])[],
  numpy = hasNumpy,
): Promise<Answer[][]> {
  const file = join(mkdtempSync(join(folder, "calls-")), "jobs.json");
  writeFileSync(file, JSON.stringify(jobs.map((calls) => ({ calls: calls.map(([m, p, n = {}]) => [m, p, n]) }))));
  const { stdout } = await promisify(execFile)(
    "python3",
    [here("calls.py"), file, ...(numpy ? [] : ["--without-numpy"])],
    {
      env: pythonEnv,
      maxBuffer: 2 ** 26,
    },
  );
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  return jobs.map((calls) => lines.splice(0, calls.length));
}

/** Runs a program of Python. */
export async function runPython(code: string, cwd: string): Promise<string> {
  return (await promisify(execFile)("python3", ["-c", code], { env: pythonEnv, cwd })).stdout;
}
