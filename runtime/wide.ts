/** Memory with 64-bit addresses. A module of its own, which is loaded for artefacts that have variants for it. */
import { isWide, type VariantId } from "./format.js";
import { validates } from "./platform.js";

/** Why the engine can't run the variant, beside what `obstacle` of platform.ts says. */
export function wideObstacle(id: VariantId): string | null {
  return isWide(id) && !validates("\x05\x03\x01\x04\x01") ? "{memory64}" : null;
}

/** A memory that grows by a number of pages, as those of 32-bit addresses do. */
export function wideMemory({ initial, maximum, shared }: WebAssembly.MemoryDescriptor): WebAssembly.Memory {
  const limits = { initial: BigInt(initial), maximum: BigInt(maximum!), shared, address: "i64" };
  const memory = new WebAssembly.Memory(limits as unknown as WebAssembly.MemoryDescriptor);
  const grow = (memory.grow as unknown as (pages: bigint) => bigint).bind(memory);
  memory.grow = (pages) => Number(grow(BigInt(pages)));
  return memory;
}
