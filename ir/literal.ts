/** Elements of tensors as text, exactly: shortest decimals, `inf`, `nan`, and the bit pattern of any NaN but the usual one. */

import { dtypeInfo } from "./dtype.js";
import { ModelError } from "./errors.js";
import { bytesOf, element, setElement, type Tensor, zeros } from "./tensor.js";

/** `1.5`, `-0`, `inf`, `-inf`, `nan`: a double as text. */
export function numberText(x: number): string {
  if (Object.is(x, -0)) return "-0";
  if (x === Infinity) return "inf";
  if (x === -Infinity) return "-inf";
  return Number.isNaN(x) ? "nan" : String(x);
}

/** Reads what `numberText` writes; undefined for other text. */
export function parseNumber(text: string): number | undefined {
  if (text === "inf") return Infinity;
  if (text === "-inf") return -Infinity;
  if (text === "nan") return Number.NaN;
  return /^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(text) ? Number(text) : undefined;
}

function bitsText(t: Tensor, i: number): string {
  const { bytes } = dtypeInfo[t.dtype];
  return `0x${hex(
    bytesOf(t)
      .slice(i * bytes, (i + 1) * bytes)
      .reverse(),
  )}`;
}

/** Texts of all elements of a tensor. */
export function elementTexts(t: Tensor): string[] {
  const { kind } = dtypeInfo[t.dtype];
  if (kind === "bool") return Array.from(t.data as Uint8Array, (v) => (v === 0 ? "false" : "true"));
  if (kind === "int" || t.dtype === "f64") {
    return Array.from({ length: t.data.length }, (_, i) =>
      kind === "int" ? String(t.data[i]) : floatText(t, i, Number(t.data[i])),
    );
  }
  return Array.from({ length: t.data.length }, (_, i) => floatText(t, i, element(t, i)));
}

function floatText(t: Tensor, i: number, x: number): string {
  const scratch = zeros(t.dtype, [1]);
  if (Number.isNaN(x)) {
    setElement(scratch, 0, Number.NaN);
    return bitsText(t, i) === bitsText(scratch, 0) ? "nan" : bitsText(t, i);
  }
  if (t.dtype === "f64" || !Number.isFinite(x) || Number.isInteger(x)) return numberText(x);
  // The fewest digits that come back as the same element.
  for (let digits = 1; digits < 17; digits++) {
    const short = Number(x.toPrecision(digits));
    setElement(scratch, 0, short);
    if (element(scratch, 0) === x) return numberText(short);
  }
  return numberText(x);
}

/** Stores the element that the text says. Throws ModelError when it is none of the dtype. */
export function setElementText(t: Tensor, i: number, text: string): void {
  const { kind, bytes } = dtypeInfo[t.dtype];
  const bits = /^0x([0-9a-f]+)$/.exec(text)?.[1];
  if (kind === "float" && bits !== undefined && bits.length === 2 * bytes) {
    bytesOf(t).set(unhex(bits).reverse(), i * bytes);
  } else if (kind === "bool" && (text === "true" || text === "false")) {
    t.data[i] = text === "true" ? 1 : 0;
  } else if (kind === "int" && /^-?\d+$/.test(text)) {
    setElement(t, i, BigInt(text));
    if (String(t.data[i]) !== text) throw new ModelError(`${text} is outside the range of ${t.dtype}`);
  } else {
    const x = kind === "float" ? parseNumber(text) : undefined;
    if (x === undefined) throw new ModelError(`"${text}" is not a ${t.dtype}`);
    setElement(t, i, x);
  }
}

/** The dtype's data as hexadecimal bytes, little-endian elements. */
export const hex = (bytes: Uint8Array): string => {
  const pieces = new Array<string>(bytes.length);
  for (let i = 0; i < bytes.length; i++) pieces[i] = bytes[i]!.toString(16).padStart(2, "0");
  return pieces.join("");
};

/** Bytes of hexadecimal text. Throws ModelError on other characters. */
export function unhex(text: string): Uint8Array {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new ModelError("bytes are written as pairs of 0-9 and a-f");
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}
