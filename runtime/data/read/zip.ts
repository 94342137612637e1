/** Members of zip archives (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT), as far as npz files need it. */
import { badFile, type File, inflate } from "./bytes.js";

const endSignature = 0x06054b50;
const entrySignature = 0x02014b50;
const localSignature = 0x04034b50;

/** Names and contents, whose sizes and checksums are compared. @throws ModelError where the archive is damaged or above the budget */
export async function* membersOf({ bytes, name: file, maxBytes }: File): AsyncGenerator<readonly [string, Uint8Array]> {
  const bad = badFile(file);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const u16 = (at: number): number =>
    at + 2 <= bytes.length ? view.getUint16(at, true) : bad(`cut short at byte ${bytes.length}`);
  const u32 = (at: number): number =>
    at + 4 <= bytes.length ? view.getUint32(at, true) : bad(`cut short at byte ${bytes.length}`);
  let end = bytes.length - 22;
  while (end >= Math.max(0, bytes.length - 22 - 0xffff) && u32(end) !== endSignature) end--;
  if (end < 0 || u32(end) !== endSignature) bad("not a zip archive, or cut short: its directory is missing");
  const count = u16(end + 10);
  let at = u32(end + 16);
  if (count === 0xffff || at === 0xffffffff) bad("a zip64 archive", "split it: archives of up to 4 GB can be read");
  let left = maxBytes;
  for (let i = 0; i < count; i++) {
    if (u32(at) !== entrySignature) bad(`its directory is damaged at byte ${at}`);
    const method = u16(at + 10);
    const [packed, size] = [u32(at + 20), u32(at + 24)];
    const [nameLength, extraLength, commentLength] = [u16(at + 28), u16(at + 30), u16(at + 32)];
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
    const where = `${file}, ${name}`;
    if (u16(at + 8) & 1) badFile(where)("it is encrypted");
    if (method !== 0 && method !== 8)
      badFile(where)(`packed by method ${method}`, "deflate (8) and stored (0) can be read");
    const local = u32(at + 42);
    if (u32(local) !== localSignature) badFile(where)(`its header is damaged at byte ${local}`);
    const begin = local + 30 + u16(local + 26) + u16(local + 28);
    if (begin + packed > bytes.length) badFile(where)(`it ends at byte ${begin + packed}, the file at ${bytes.length}`);
    if (size > left)
      badFile(where)(`more than ${maxBytes} bytes in all`, "raise the option maxBytes if you trust the file");
    left -= size;
    const raw = bytes.subarray(begin, begin + packed);
    if (!name.endsWith("/")) yield [name, await unpack(raw, method, size, bytes.subarray(at + 16, at + 20), where)];
    at += 46 + nameLength + extraLength + commentLength;
  }
}

/**
 * A gzip archive is deflated data between a header, and checksum and size: what the platform unpacks, and checks. What is stored goes in
 * blocks of that kind.
 */
async function unpack(
  raw: Uint8Array,
  method: number,
  size: number,
  crc: Uint8Array,
  where: string,
): Promise<Uint8Array> {
  const body = method === 8 ? [raw] : storedBlocks(raw);
  const header = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255);
  const footer = new Uint8Array(8);
  footer.set(crc);
  new DataView(footer.buffer).setUint32(4, size, true);
  const parts = [header, ...body, footer];
  const gzip = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    gzip.set(part, at);
    at += part.length;
  }
  return inflate("gzip", gzip, Math.max(1, size), where);
}

/** Blocks of deflate (RFC 1951, 3.2.4) that hold bytes as they are. */
function storedBlocks(raw: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at === 0 || at < raw.length; at += 0xffff) {
    const block = raw.subarray(at, at + 0xffff);
    const last = at + 0xffff >= raw.length ? 1 : 0;
    const n = block.length;
    parts.push(Uint8Array.of(last, n & 255, n >> 8, ~n & 255, (~n >> 8) & 255), block);
  }
  return parts;
}
