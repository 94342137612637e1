/** Keys of encrypted artefacts on the command line: from a file, or the environment; never as an argument, which other users could see. */

import { open, readFile } from "node:fs/promises";
import type { Command } from "commander";
import { ModelError } from "../../ir/errors.js";
import { diskError } from "../../runtime/files.js";
import { keyVariable } from "../env.js";
import { modelError } from "../write.js";

export interface KeyFlags {
  readonly key?: string;
}

export interface EncryptFlags extends KeyFlags {
  readonly encrypt?: boolean;
  readonly newKey?: string;
}

/** The flag of commands that load artefacts. */
export function withKeyFlag(command: Command): Command {
  return command.option("--key <file>", "file with the key of an encrypted artefact (default: WASMITH_KEY)");
}

/** Digits as `openssl rand -hex 32` and `-base64 32` write them. @throws ModelError, which says nothing of the text */
function parseKey(text: string, where: string): Uint8Array {
  const digits = text.trim();
  if (/^([0-9a-f]{32}|[0-9a-f]{64})$/i.test(digits)) return new Uint8Array(Buffer.from(digits, "hex"));
  if (/^([\w+/-]{22}==|[\w+/-]{43}=)$/.test(digits)) return new Uint8Array(Buffer.from(digits, "base64"));
  throw new ModelError({
    where,
    message: "expected a key of 16 or 32 bytes, in hex or base64",
    hint: "make one with --new-key FILE, or openssl rand -hex 32",
  });
}

async function readKey(path: string): Promise<Uint8Array> {
  const text = await readFile(path, "utf8").catch((cause) => {
    throw diskError(path, "read", cause, modelError);
  });
  return parseKey(text, path);
}

/** The key that was named, if one was. */
async function givenKey({ key }: KeyFlags): Promise<Uint8Array | undefined> {
  if (key !== undefined) return readKey(key);
  const variable = keyVariable();
  return variable === undefined ? undefined : parseKey(variable, "WASMITH_KEY");
}

/** What `load` is given for an artefact. @throws ModelError where a key is given for a model, which is compiled as it is */
export async function keyOption(path: string, flags: KeyFlags): Promise<{ readonly key?: Uint8Array }> {
  if (!path.endsWith(".wasm")) {
    if (flags.key === undefined) return {};
    throw new ModelError({ where: "--key", message: `${path} is no artefact`, hint: "give the .wasm file" });
  }
  const key = await givenKey(flags);
  return key ? { key } : {};
}

/** The key to encrypt with, or undefined where nothing is encrypted. A new one is written where there is no file yet, for its owner alone. */
export async function encryptionKey(flags: EncryptFlags): Promise<Uint8Array | undefined> {
  const { encrypt, key, newKey } = flags;
  if (!encrypt) {
    if (key === undefined && newKey === undefined) return undefined;
    const where = key === undefined ? "--new-key" : "--key";
    throw new ModelError({ where, message: "nothing is encrypted", hint: "add --encrypt" });
  }
  if (newKey === undefined) {
    const given = await givenKey(flags);
    if (given) return given;
    const hint = "--new-key FILE makes one, --key FILE and the variable WASMITH_KEY give one";
    throw new ModelError({ where: "--encrypt", message: "there is no key", hint });
  }
  if (key !== undefined)
    throw new ModelError({ where: "--new-key", message: "--key names a key already", hint: "give one of them" });
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  try {
    const file = await open(newKey, "wx", 0o600);
    await file.writeFile(`${Buffer.from(bytes).toString("hex")}\n`);
    await file.sync();
    await file.close();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST")
      throw new ModelError({ where: newKey, message: "it is there already", hint: "use its key with --key" });
    throw diskError(newKey, "written", cause, modelError);
  }
  return bytes;
}
