/** Emits Loop IR and instantiates it over one memory, for tests. */

import { type EmitOptions, emitModule } from "../../compiler/wasm/emit.js";
import type { LoopFunction } from "../../ir/loop.js";

export interface Running {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  call(name: string, ...args: (number | bigint)[]): number | bigint | undefined;
}

export function instantiate(
  functions: readonly LoopFunction[],
  exports: readonly string[],
  options: Partial<EmitOptions> = {},
): Running {
  const { bytes } = emitModule({
    functions,
    exports,
    memory: { shared: false, initialPages: 16, maximumPages: 16 },
    variant: { simd: "simd128", threads: false },
    ...options,
  });
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 16 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory } });
  return {
    memory,
    bytes,
    call: (name, ...args) =>
      (instance.exports[name] as (...args: (number | bigint)[]) => number | bigint | undefined)(...args),
  };
}
