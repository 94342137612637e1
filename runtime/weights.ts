/** Weights, from their file to where they stay. */
import { checkHash } from "./container.js";
import { corrupted } from "./errors.js";
import { type Manifest, weightsPart } from "./format.js";
import { isNode } from "./platform.js";
import { dataStart } from "./safetensors.js";
import { concatBytes, type Stream, take } from "./stream.js";
import { byteSize } from "./tensor.js";

/** Parts whose hashes are awaited at a time: each is copied for it, but in Node, which hashes them where they lie. */
const mostPending = isNode ? 0 : 8;

/** Bytes that are read at a time: so many parts. More where nothing is hashed, since decrypting begins anew with each. */
const readAtOnce = (isTrusted: boolean): number => (isTrusted ? 32 : 8) * weightsPart;

/**
 * Reads the weights file into memory: what entries read as one piece, and tensors of state. Parts are checked while the next ones come,
 * so that nothing is held twice.
 * @throws ModelError where it is not the file that the manifest describes
 */
export async function fillMemory(
  { buffer }: WebAssembly.Memory,
  { weights, memory: { weightsOffset, weightsBytes }, state }: Manifest,
  { stream, isTrusted }: { readonly stream: Stream; readonly isTrusted: boolean },
): Promise<void> {
  const { file, bytes, hashes } = weights;
  const name = `"${file}"`;
  const pending: Promise<void>[] = [];
  let wrong: unknown;
  let parts = 0;
  const check = async (data: Uint8Array, partBytes = weightsPart): Promise<void> => {
    for (let at = 0; at < data.length; at += partBytes) {
      const hash = hashes[parts++] ?? "";
      const part = data.subarray(at, at + partBytes);
      if (!isTrusted) pending.push(checkHash(name, part, hash).catch((error) => (wrong ??= error)));
      await settle(mostPending);
    }
  };
  const settle = async (most: number): Promise<void> => {
    while (pending.length > most) await pending.shift();
    if (wrong) throw wrong;
  };
  const begin = await take(stream, 8);
  const start = begin.length < 8 ? 8 : Math.min(dataStart(begin), Math.max(8, bytes));
  await check(concatBytes([begin, await take(stream, start - 8)]), start);
  await settle(0);
  const size = bytes - start;
  const places: (readonly [from: number, to: number, length: number])[] = [[0, weightsOffset, weightsBytes]];
  for (const { init, offset, dtype, shape } of state)
    if (init !== null) places.push([init, offset, byteSize(dtype, shape)]);
  if (places.some(([from, , length]) => from + length > size)) throw corrupted(`${name} is too short`);
  const memory = new Uint8Array(buffer);
  // What is not read to where it stays; two, since one is filled while the other is looked at.
  const most = readAtOnce(isTrusted);
  const between: Uint8Array[] = [];
  const placeBetween = (number: number): Uint8Array => {
    between[number] ??= new Uint8Array(Math.min(most, size));
    return between[number];
  };
  const begun = (at: number) => {
    const end = Math.min(at + most, size);
    const part =
      end <= weightsBytes
        ? memory.subarray(weightsOffset + at, weightsOffset + end)
        : placeBetween((at / most) & 1).subarray(0, end - at);
    const reading = stream.fill(part);
    // It is awaited, unless another part is wrong.
    reading.catch(() => {});
    return { at, end, part, reading };
  };
  for (let next = size > 0 ? begun(0) : undefined; next; ) {
    const { at, end, part, reading } = next;
    const got = await reading;
    if (got < part.length) throw corrupted(`${name} has ${start + at + got} bytes, ${bytes} were written`);
    // Hashing takes time, so the next part is on its way before.
    next = end < size ? begun(end) : undefined;
    for (const [from, to, length] of end <= weightsBytes ? places.slice(1) : places) {
      const [first, last] = [Math.max(from, at), Math.min(from + length, end)];
      if (first < last) memory.set(part.subarray(first - at, last - at), to + first - from);
    }
    await check(part);
  }
  if ((await take(stream, 1)).length) throw corrupted(`${name} has more than ${bytes} bytes`);
  await settle(0);
}
