/** FlatBuffers, written from a description of the tables: https://flatbuffers.dev/internals. */

/** What a field of a table holds. Tables, vectors and texts lie elsewhere in the file; the field holds how far away. */
export type Field = Scalar | Apart;

interface Scalar {
  readonly kind: "i8" | "i32" | "f32";
  readonly value: number;
}

type Apart =
  | { readonly kind: "table"; readonly fields: readonly (Field | undefined)[] }
  | { readonly kind: "tables"; readonly items: readonly Apart[] }
  | { readonly kind: "ints"; readonly values: readonly number[] }
  | { readonly kind: "bytes"; readonly data: Uint8Array }
  | { readonly kind: "text"; readonly text: string };

export const i8 = (value: number): Field => ({ kind: "i8", value });
export const i32 = (value: number): Field => ({ kind: "i32", value });
export const f32 = (value: number): Field => ({ kind: "f32", value });
/** Fields in the order of their ids; absent ones have the default of the schema. */
export const table = (...fields: readonly (Field | undefined)[]): Apart => ({ kind: "table", fields });
export const tables = (items: readonly Apart[]): Apart => ({ kind: "tables", items });
export const ints = (values: readonly number[]): Apart => ({ kind: "ints", values });
/** A vector of bytes, aligned to 16. */
export const bytes = (data: Uint8Array): Apart => ({ kind: "bytes", data });
export const text = (words: string): Apart => ({ kind: "text", text: words });

class Writer {
  #view = new DataView(new ArrayBuffer(1 << 16));
  length = 0;

  /** Makes room that begins where (position + lead) is a multiple of `align`; what is skipped is zero. */
  reserve(size: number, align: number, lead = 0): number {
    while ((this.length + lead) % align !== 0) this.length++;
    const at = this.length;
    this.length += size;
    if (this.length > this.#view.byteLength) {
      const larger = new Uint8Array(Math.max(this.length, 2 * this.#view.byteLength));
      larger.set(new Uint8Array(this.#view.buffer));
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }

  letters(at: number, word: string): void {
    new TextEncoder().encodeInto(word, new Uint8Array(this.#view.buffer, at));
  }

  get written(): Uint8Array {
    return new Uint8Array(this.#view.buffer, 0, this.length);
  }

  /** An offset is the distance forward from where it stands. */
  point(at: number, to: number): void {
    this.#view.setUint32(at, to - at, true);
  }

  /** @returns where it lies */
  put(item: Apart): number {
    switch (item.kind) {
      case "table":
        return this.#table(item.fields);
      case "tables": {
        const at = this.reserve(4 + 4 * item.items.length, 4);
        this.#view.setUint32(at, item.items.length, true);
        for (const [i, child] of item.items.entries()) this.point(at + 4 + 4 * i, this.put(child));
        return at;
      }
      case "ints": {
        const at = this.reserve(4 + 4 * item.values.length, 4);
        this.#view.setUint32(at, item.values.length, true);
        for (const [i, x] of item.values.entries()) this.#view.setInt32(at + 4 + 4 * i, x, true);
        return at;
      }
      case "bytes":
        return this.#bytes(item.data, 16);
      case "text": {
        const at = this.#bytes(new TextEncoder().encode(item.text), 4);
        this.reserve(1, 1);
        return at;
      }
    }
  }

  #scalar(at: number, { kind, value }: Scalar): void {
    if (kind === "i8") this.#view.setInt8(at, value);
    else if (kind === "i32") this.#view.setInt32(at, value, true);
    else this.#view.setFloat32(at, value, true);
  }

  #bytes(data: Uint8Array, align: number): number {
    const at = this.reserve(4 + data.length, align, 4);
    this.#view.setUint32(at, data.length, true);
    new Uint8Array(this.#view.buffer).set(data, at + 4);
    return at;
  }

  /** First the vtable, which says where each field lies in the table, then the table, then what its fields point to. */
  #table(fields: readonly (Field | undefined)[]): number {
    const places: number[] = [];
    let size = 4;
    for (const narrow of [false, true])
      fields.forEach((field, id) => {
        if (field === undefined || (field.kind === "i8") !== narrow) return;
        places[id] = size;
        size += narrow ? 1 : 4;
      });
    const vtable = this.reserve(4 + 2 * fields.length, 4);
    const at = this.reserve(size, 4);
    this.#view.setUint16(vtable, 4 + 2 * fields.length, true);
    this.#view.setUint16(vtable + 2, size, true);
    this.#view.setInt32(at, at - vtable, true);
    for (const [id, field] of fields.entries()) {
      if (field === undefined) continue;
      this.#view.setUint16(vtable + 4 + 2 * id, places[id]!, true);
      const place = at + places[id]!;
      if ("value" in field) this.#scalar(place, field);
      else this.point(place, this.put(field));
    }
    return at;
  }
}

/** @param identifier four letters that the schema names */
export function encodeFlatbuffer(root: Apart, identifier: string): Uint8Array {
  const writer = new Writer();
  const at = writer.reserve(8, 4);
  writer.letters(at + 4, identifier);
  writer.point(at, writer.put(root));
  return writer.written;
}
