/**
 * Loop IR module → WebAssembly bytes. Verifies what it gets, emits every function, generates the helpers they need (math
 * library, half-precision conversions, the team's barrier) once each, and encodes.
 */

import { checkTime } from "../../ir/deadline.js";
import { InternalError } from "../../ir/errors.js";
import type { HostFn, LoopFunction, LoopType } from "../../ir/loop.js";
import { isVector } from "../../ir/loop-types.js";
import { verifyLoop } from "../../ir/loop-verify.js";
import { addBarrier, barrierName, canBlockExport } from "./barrier.js";
import type { Helper } from "./emit-context.js";
import { emitFunction } from "./emit-stmt.js";
import { engineDots, engineDotsName, reachable } from "./engine.js";
import { halfFunction, halfName } from "./half.js";
import { addHost, type Host, hostName } from "./host.js";
import { mathFunctions, mathName } from "./math.js";
import { type MemoryLimits, type Variant, WasmModule } from "./module.js";
import { withAddresses } from "./pointers.js";
import { toWat } from "./text.js";

export type { MemoryLimits, Variant } from "./module.js";

export interface EmitOptions {
  readonly functions: readonly LoopFunction[];
  /** Names of functions to export, under the same names. Their parameters and results are scalars. */
  readonly exports: readonly string[];
  /** The memory is imported as `env.memory`. */
  readonly memory: MemoryLimits;
  readonly customSections?: readonly { readonly name: string; readonly contents: Uint8Array }[];
  readonly variant: Variant;
  /** Default: the runtime. */
  readonly host?: Host;
  /** Keep function names, for profilers and stack traces (default true). */
  readonly names?: boolean;
}

export interface EmittedModule {
  readonly bytes: Uint8Array;
  /** Text form, made on demand. */
  wat(): string;
}

/** Lists of functions that have been verified: several variants are emitted from the same list. */
const verified = new WeakSet<readonly LoopFunction[]>();

/** @throws VerifyError if the functions are ill-formed */
export function emitModule(options: EmitOptions): EmittedModule {
  const { variant } = options;
  if (!verified.has(options.functions)) verifyLoop({ functions: options.functions });
  verified.add(options.functions);
  checkExports(options);
  const m = new WasmModule(variant);
  m.importMemory(options.memory);
  if (variant.threads) m.addGlobal(canBlockExport, 0, canBlockExport);

  const address = variant.memory64 ? "i64" : "i32";
  const functions = options.functions.map((f) => withAddresses(f, address));
  const known = new Map(functions.map((f) => [f.name, f]));
  const queue = [...reachable(functions, variant)];
  let barrier = false;
  const host = new Set<HostFn>();
  const need = (helper: Helper): string => {
    if (helper.kind === "barrier") {
      if (!barrier) addBarrier(m);
      barrier = true;
      return barrierName;
    }
    if (helper.kind === "host") {
      if (!host.has(helper.fn)) addHost(m, helper.fn, variant.threads, options.host ?? "runtime");
      host.add(helper.fn);
      return hostName[helper.fn];
    }
    if (helper.kind === "engine") {
      if (!known.has(engineDotsName)) queue.push(engineDots);
      known.set(engineDotsName, engineDots);
      return engineDotsName;
    }
    const name = helperName(helper);
    if (!known.has(name)) {
      for (const f of helperFunctions(helper)) {
        if (known.has(f.name)) continue;
        known.set(f.name, f);
        queue.push(f);
      }
    }
    return name;
  };
  const results = (name: string) => known.get(name)?.result;
  for (const f of queue) {
    checkTime(f.name);
    emitFunction(m, variant, f, results, need);
  }

  for (const name of options.exports) m.exportFunction(name, name);
  for (const s of options.customSections ?? []) m.addCustomSection(s.name, s.contents);
  const bytes = m.finish({ names: options.names ?? true });
  return { bytes, wat: () => toWat(bytes) };
}

function checkExports({ exports, functions, memory, variant }: EmitOptions): void {
  if (memory.shared !== variant.threads) throw new InternalError("the memory is shared exactly in threaded variants");
  const byName = new Map(functions.map((f) => [f.name, f]));
  for (const name of exports) {
    const f = byName.get(name);
    if (f === undefined) throw new InternalError(`no function @${name} to export`);
    const types: LoopType[] = f.params.map((p) => p.type);
    if (f.result !== undefined) types.push(f.result);
    if (types.some(isVector)) throw new InternalError(`@${name} is exported, so it cannot take or return vectors`);
  }
}

type GeneratedHelper = Exclude<Helper, { kind: "barrier" | "host" | "engine" }>;

function helperName(h: GeneratedHelper): string {
  return h.kind === "half" ? halfName(h.format, h.lanes, h.direction) : mathName(h.fn, h.type);
}

function helperFunctions(h: GeneratedHelper): readonly LoopFunction[] {
  return h.kind === "half" ? [halfFunction(h.format, h.lanes, h.direction)] : mathFunctions(h.fn, h.type);
}
