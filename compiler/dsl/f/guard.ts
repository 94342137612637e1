/** Calls with arguments that do not fit, told in words. */

import { describe } from "../../../ir/describe.js";
import { InternalError, ModelError, VerifyError } from "../../../ir/errors.js";

type Call = (...args: readonly unknown[]) => unknown;

/** Parameters as they are written in the source. */
const signatureOf = (f: Call): string | undefined => /^(?:function \w+)?\(([^)]*)\)/.exec(String(f))?.[1];

/**
 * The function, whose arguments need no check of their own to be told where the engine finds nothing to work with in them. What a function
 * throws that is itself an argument goes through as it is.
 */
export function guard<F>(name: string, f: F): F {
  const call = f as Call;
  const guarded: Call = (...args) => {
    try {
      return call(...args);
    } catch (error) {
      const told = error instanceof ModelError || error instanceof InternalError || error instanceof VerifyError;
      if (told || !(error instanceof TypeError || error instanceof RangeError)) throw error;
      if (args.some((a) => typeof a === "function")) throw error;
      const signature = signatureOf(call);
      throw new ModelError(
        {
          message: `${name}(${args.map(describe).join(", ")}): the arguments do not fit (${error.message})`,
          hint: signature === undefined ? undefined : `${name}(${signature.replace(/\s+/g, " ").trim()})`,
        },
        { cause: error },
      );
    }
  };
  return Object.defineProperty(guarded, "name", { value: name }) as F;
}

/** All functions of a module. */
export const guardAll = <T extends object>(name: string, functions: T): T =>
  Object.freeze(
    Object.fromEntries(Object.entries(functions).map(([key, f]) => [key, guard(`${name}.${key}`, f)])),
  ) as T;
