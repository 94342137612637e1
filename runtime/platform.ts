/** What differs between Node and browsers, and what an engine can do. */
import type { VariantId } from "./format.js";

export const isNode = typeof process !== "undefined" && !!process.versions?.node;

/**
 * Makes the allocator keep what is freed. Results are allocated anew in each run, and glibc gives memory back to the system beyond twice the
 * largest block that was freed before: then each page of a result is a fault, and 3 MB take 2 ms instead of 0.2. This block is never touched,
 * and dropped by the next collection.
 */
export function keepFreedMemory(): void {
  if (gives) new ArrayBuffer(3e7);
  gives = false;
}
let gives = isNode;

/**
 * Imports a builtin of Node (`node:fs`) or an optional package. The name comes as a value, so that bundles for browsers
 * neither contain nor look for it; the build marks this import for bundlers to leave alone.
 */
export function importModule<T>(name: string): Promise<T> {
  return import(name);
}

/** Whether the engine takes a module of these sections. */
export const validates = (body: string): boolean => {
  const bytes = Uint8Array.from(`\0asm\x01\0\0\0${body}`, (c) => c.charCodeAt(0));
  return WebAssembly.validate(bytes);
};

/** Does the engine compile i8x16.popcnt, i8x16.relaxed_swizzle, and i32.atomic.load on a shared memory? */
const simd = (): boolean =>
  validates("\x01\x05\x01\x60\0\x01\x7b\x03\x02\x01\0\x0a\x0a\x01\x08\0\x41\0\xfd\x0f\xfd\x62\x0b");
const relaxed = (): boolean =>
  validates(
    "\x01\x05\x01\x60\0\x01\x7b\x03\x02\x01\0\x0a\x0f\x01\x0d\0\x41\x01\xfd\x0f\x41\x02\xfd\x0f\xfd\x80\x02\x0b",
  );
const atomics = (): boolean =>
  validates("\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x04\x01\x03\x01\x01\x0a\x0b\x01\x09\0\x41\0\xfe\x10\x02\0\x1a\x0b");

/** Why the engine can't run the variant, or null if it can: a reason of explain.ts in braces. */
export function obstacle(id: VariantId): string | null {
  if (!simd()) return "{simd}";
  if (id.startsWith("relaxed") && !relaxed()) return "{relaxed}";
  return id.endsWith("threads") ? threadObstacle() : null;
}

/** Why threads can't be had, likewise. */
export function threadObstacle(): string | null {
  if (typeof SharedArrayBuffer === "undefined") {
    return globalThis.crossOriginIsolated === false ? "{isolation}" : "{sharing}";
  }
  return atomics() ? null : "{atomics}";
}

/** May this thread wait in Atomics.wait? Not a browser's main thread. */
export function canBlock(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return true;
  } catch {
    return false;
  }
}

/** Lets the event loop take one turn. */
export function yieldToLoop(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === "function") setImmediate(resolve);
    else {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(0);
    }
  });
}
