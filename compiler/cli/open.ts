/** A session of whatever was named: an artefact's `.wasm`, or a model that is compiled first. */

import { load, type Session } from "../../runtime/index.js";
import { compile } from "../compile.js";
import { type CompileFlags, compileOptions } from "./compile.js";
import { type KeyFlags, keyOption } from "./key.js";
import { loadModel } from "./load-model.js";

export interface OpenFlags extends CompileFlags, KeyFlags {
  readonly threads?: number;
}

export async function openSession(path: string, flags: OpenFlags): Promise<Session> {
  const options = { threads: flags.threads ?? 1, ...(flags.deterministic ? { deterministic: true } : {}) };
  const key = await keyOption(path, flags);
  if (path.endsWith(".wasm")) return load(path, { ...options, ...key });
  const model = await loadModel(path);
  return load(await compile(model.program, compileOptions(flags, model.name)), options);
}
