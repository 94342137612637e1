/** Protobuf's wire format: tags, varints, numbers of fixed width and what has a length before it. */

import type { Int } from "./proto-types.js";

const utf8 = { read: new TextDecoder("utf-8", { ignoreBOM: true }), write: new TextEncoder() };

/** How a field lies in the file. */
export const wire = { varint: 0, fixed64: 1, delimited: 2, startGroup: 3, endGroup: 4, fixed32: 5 } as const;

/** Groups within groups that are skipped at most. */
const deepestGroup = 100;

export class WireReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  pos = 0;
  /** Where the message that is read ends. */
  end: number;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.end = bytes.length;
  }

  /** Goes `bytes` on. @returns where it was. @throws RangeError behind the end */
  #skip(bytes: number): number {
    const start = this.pos;
    if (bytes > this.end - start) throw new RangeError(`index out of range: ${start} + ${bytes} > ${this.end}`);
    this.pos = start + bytes;
    return start;
  }

  #low = 0;
  #high = 0;

  /** A varint of at most 10 bytes, as its low and high 32 bits. */
  #varint(): void {
    let [low, high] = [0, 0];
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.bytes[this.#skip(1)]!;
      if (shift < 28) low |= (byte & 127) << shift;
      else if (shift === 28) {
        low |= (byte & 15) << 28;
        high |= (byte & 127) >> 4;
      } else high |= (byte & 127) << (shift - 32);
      if (byte < 128) {
        this.#low = low >>> 0;
        this.#high = high >>> 0;
        return;
      }
    }
    throw new RangeError("invalid varint encoding");
  }

  uint32(): number {
    const byte = this.pos < this.end ? this.bytes[this.pos]! : 128;
    if (byte < 128) {
      this.pos++;
      return byte;
    }
    this.#varint();
    return this.#low;
  }

  int32(): number {
    return this.uint32() | 0;
  }

  int64(): Int {
    this.#varint();
    const high = this.#high | 0;
    const value = high * 2 ** 32 + this.#low;
    return Number.isSafeInteger(value) ? value : (BigInt(high) << 32n) | BigInt(this.#low);
  }

  uint64(): Int {
    this.#varint();
    const value = this.#high * 2 ** 32 + this.#low;
    return Number.isSafeInteger(value) ? value : (BigInt(this.#high) << 32n) | BigInt(this.#low);
  }

  float(): number {
    return this.#view.getFloat32(this.#skip(4), true);
  }

  double(): number {
    return this.#view.getFloat64(this.#skip(8), true);
  }

  /** A view of the bytes. */
  delimited(): Uint8Array {
    const length = this.uint32();
    const start = this.#skip(length);
    return this.bytes.subarray(start, start + length);
  }

  string(): string {
    const length = this.uint32();
    const start = this.#skip(length);
    // Names are short and ASCII; a decoder takes longer to be called than to read them.
    if (length < 40) {
      let text = "";
      let at = start;
      for (; at < this.pos && this.bytes[at]! < 128; at++) text += String.fromCharCode(this.bytes[at]!);
      if (at === this.pos) return text;
    }
    return utf8.read.decode(this.bytes.subarray(start, this.pos));
  }

  /** Goes over a field's value. */
  skip(type: number, depth = 0): void {
    switch (type) {
      case wire.varint:
        this.#varint();
        break;
      case wire.fixed64:
        this.#skip(8);
        break;
      case wire.delimited:
        this.#skip(this.uint32());
        break;
      case wire.startGroup:
        if (depth === deepestGroup) throw new RangeError(`groups are nested deeper than ${deepestGroup}`);
        for (let tag = this.uint32(); (tag & 7) !== wire.endGroup; tag = this.uint32()) this.skip(tag & 7, depth + 1);
        break;
      case wire.fixed32:
        this.#skip(4);
        break;
      default:
        throw new RangeError(`invalid wire type ${type} at offset ${this.pos}`);
    }
  }
}

/** Bytes of a varint. */
export function varintBytes(value: Int): number {
  if (typeof value === "bigint" || value < 0) {
    const bits = BigInt.asUintN(64, BigInt(value)).toString(2).length;
    return Math.ceil(bits / 7);
  }
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

/** Bytes of a text, without their number. */
export function stringBytes(text: string): number {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 128) return utf8.write.encode(text).length;
  return text.length;
}

/** Writes into an array of the size that was measured. */
export class WireWriter {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  pos = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Negative integers as 64 bits. */
  varint(value: Int): void {
    if (typeof value === "bigint" || value < 0) {
      let rest = BigInt.asUintN(64, BigInt(value));
      for (; rest >= 128n; rest >>= 7n) this.bytes[this.pos++] = Number(rest & 127n) | 128;
      this.bytes[this.pos++] = Number(rest);
      return;
    }
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.bytes[this.pos++] = (rest % 128) | 128;
    this.bytes[this.pos++] = rest;
  }

  float(value: number): void {
    this.#view.setFloat32(this.pos, value, true);
    this.pos += 4;
  }

  double(value: number): void {
    this.#view.setFloat64(this.pos, value, true);
    this.pos += 8;
  }

  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.pos);
    this.pos += bytes.length;
  }

  string(text: string): void {
    const { written } = utf8.write.encodeInto(text, this.bytes.subarray(this.pos));
    this.pos += written;
  }
}
