/**
 * Where a command keeps what it has read and what it says: memory behind everything else, at an address `%s` that each function is given.
 * Texts are written by stores of constants, 8 bytes at a time, so that nothing of them lies in memory before.
 */

/** Places in the scratch memory, in bytes; words are i32. */
export const place = {
  /** Address and length of what is read or written, and how many bytes were. */
  vector: 0,
  done: 8,
  /** Length of the text so far. */
  cursor: 16,
  /** The number that was read last, an i64. */
  number: 24,
  /** Of the tensor that was read last: which fields it had, and where its dtype lies in the header, and how long it is. */
  fields: 32,
  dtype: 36,
  /** A list of two: its length, then begin and end in the data section. */
  offsets: 44,
  /** A list of at most `mostAxes`: its length, then the sizes. */
  shape: 56,
  /** For each input: begin and end of its data; −1 before it was found, and when it was read. */
  inputs: 128,
} as const;

export const mostAxes = 16;
/** How much of a name in a file is said again. */
export const mostEchoed = 200;
/** What an address of skipped data leads to, and how much of it is read at a time. */
export const bufferBytes = 65536;

export const align = (n: number, unit: number): number => Math.ceil(n / unit) * unit;

/** Of an i32 in scratch memory, as an expression; `at` is a multiple of 4. */
export const word = (at: number): string => `load i32 %s[${at / 4}]`;
export const setWord = (at: number, value: string): string => `store i32 %s[${at / 4}] = ${value}`;

const encoder = new TextEncoder();

/** Constants for a text: 8, 4 and single bytes. */
function pieces(text: string): { readonly at: number; readonly elem: "i64" | "i32" | "u8"; readonly value: string }[] {
  const bytes = encoder.encode(text);
  const view = new DataView(bytes.buffer);
  const found: ReturnType<typeof pieces> = [];
  let at = 0;
  for (; at + 8 <= bytes.length; at += 8) found.push({ at, elem: "i64", value: `${view.getBigInt64(at, true)}:i64` });
  for (; at + 4 <= bytes.length; at += 4) found.push({ at, elem: "i32", value: String(view.getInt32(at, true)) });
  for (; at < bytes.length; at++) found.push({ at, elem: "u8", value: String(bytes[at]) });
  return found;
}

export const lengthOf = (text: string): number => encoder.encode(text).length;

/** Statements that add a text to what is said. `%text` is where texts begin. */
export function say(text: string): string {
  const stores = pieces(text).map(({ at, elem, value }) =>
    elem === "u8"
      ? `store i32.u8 (%text + ptr.from_i32S(${word(place.cursor)}) + ${at}:ptr)[0] = ${value}`
      : `store ${elem} (%text + ptr.from_i32S(${word(place.cursor)}) + ${at}:ptr)[0] = ${value}`,
  );
  return [...stores, setWord(place.cursor, `${word(place.cursor)} + ${lengthOf(text)}`)].join("\n");
}

/** Whether the bytes at `%from`, of which there are `%length`, are this text. */
export function isText(text: string, from: string, length: string): string {
  const same = pieces(text).map(
    ({ at, elem, value }) => `eq(load ${elem === "u8" ? "i32.u8" : elem} (${from} + ${at}:ptr)[0], ${value})`,
  );
  return [`eq(${length}, ${lengthOf(text)})`, ...same].reduce((a, b) => `and(${a}, ${b})`);
}

/** Whether they begin so. */
export const beginsWith = (text: string, from: string, length: string): string =>
  isText(text, from, length).replace(`eq(${length}, ${lengthOf(text)})`, `geS(${length}, ${lengthOf(text)})`);
