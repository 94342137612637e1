/** Bit patterns of the narrow float formats. All roundings are to nearest, ties to even, directly from the double. */

export interface FloatFormat {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly bias: number;
  /** What the top exponent means: IEEE infinities and NaNs; only the all-ones pattern is NaN; or everything is finite. */
  readonly specials: "ieee" | "nan-only" | "none";
  /** The only NaN is the pattern of −0, and there is no −0. */
  readonly unsignedZero: boolean;
}

/** f16 and bf16 by IEEE 754, the 8-bit kinds by OCP/ONNX, f4e2m1 by OCP MX. */
const formats = {
  f16: { exponentBits: 5, mantissaBits: 10, bias: 15, specials: "ieee", unsignedZero: false },
  bf16: { exponentBits: 8, mantissaBits: 7, bias: 127, specials: "ieee", unsignedZero: false },
  f8e4m3fn: { exponentBits: 4, mantissaBits: 3, bias: 7, specials: "nan-only", unsignedZero: false },
  f8e4m3fnuz: { exponentBits: 4, mantissaBits: 3, bias: 8, specials: "none", unsignedZero: true },
  f8e5m2: { exponentBits: 5, mantissaBits: 2, bias: 15, specials: "ieee", unsignedZero: false },
  f8e5m2fnuz: { exponentBits: 5, mantissaBits: 2, bias: 16, specials: "none", unsignedZero: true },
  f4e2m1: { exponentBits: 2, mantissaBits: 1, bias: 1, specials: "none", unsignedZero: false },
} as const satisfies Record<string, FloatFormat>;

export type NarrowFloat = keyof typeof formats;

/** How a format lays out its bits. */
export const floatFormat = (format: NarrowFloat): FloatFormat => formats[format];

/** Value of a bit pattern. */
export function decodeFloat(format: NarrowFloat, bits: number): number {
  const f: FloatFormat = formats[format];
  const e = f.exponentBits;
  const m = f.mantissaBits;
  const negative = (bits >> (e + m)) & 1;
  const exponent = (bits >> m) & ((1 << e) - 1);
  const mantissa = bits & ((1 << m) - 1);
  const top = (1 << e) - 1;
  if (f.unsignedZero && negative && exponent === 0 && mantissa === 0) return Number.NaN;
  if (f.specials === "ieee" && exponent === top) {
    return mantissa ? Number.NaN : negative ? -Infinity : Infinity;
  }
  if (f.specials === "nan-only" && exponent === top && mantissa === (1 << m) - 1) return Number.NaN;
  const magnitude =
    exponent === 0 ? mantissa * 2 ** (1 - f.bias - m) : (1 + mantissa / (1 << m)) * 2 ** (exponent - f.bias);
  return negative ? -magnitude : magnitude;
}

/** Bit pattern of the largest finite value. */
export function largestFinite(format: NarrowFloat): number {
  const f: FloatFormat = formats[format];
  const sign = 1 << (f.exponentBits + f.mantissaBits);
  const top = sign - 1;
  if (f.specials === "none") return top;
  return f.specials === "nan-only" ? top - 1 : top - (1 << f.mantissaBits);
}

/**
 * Bit pattern of the value nearest to x. Overflow gives ∞ in IEEE formats (or the largest finite value when `saturate`), NaN in
 * the others unless `saturate`; f4e2m1 has neither and always saturates (NaN → largest magnitude, positive).
 */
export function encodeFloat(format: NarrowFloat, x: number, saturate = false): number {
  const f: FloatFormat = formats[format];
  const e = f.exponentBits;
  const m = f.mantissaBits;
  const sign = 1 << (e + m);
  const nan = f.unsignedZero ? sign : f.specials === "ieee" ? (((1 << e) - 1) << m) | (1 << (m - 1)) : sign - 1;
  const max = largestFinite(format);
  if (Number.isNaN(x)) return nan;
  const negative = x < 0 || Object.is(x, -0);
  const a = Math.abs(x);
  const signed = (bits: number) => (bits === 0 && f.unsignedZero ? 0 : negative ? bits | sign : bits);
  const overflow = () => {
    if (saturate || format === "f4e2m1") return signed(max);
    return f.specials === "ieee" ? signed(((1 << e) - 1) << m) : f.unsignedZero ? nan : signed(nan);
  };
  if (a === Infinity) return overflow();
  if (a === 0) return signed(0);
  // Quantum of the binade that a lies in, then round the scaled value to an integer, ties to even.
  const exponent = Math.max(Math.floor(Math.log2(a)), 1 - f.bias);
  const binade =
    2 ** exponent > a && exponent > 1 - f.bias ? exponent - 1 : 2 ** (exponent + 1) <= a ? exponent + 1 : exponent;
  const scaled = a / 2 ** (binade - m);
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
  const bits = rounded < 1 << m ? rounded : ((binade + f.bias) << m) + (rounded - (1 << m));
  return bits > max ? overflow() : signed(bits);
}

export const toF16 = (x: number): number => encodeFloat("f16", x);
export const fromF16 = (bits: number): number => decodeFloat("f16", bits);
export const toBf16 = (x: number): number => encodeFloat("bf16", x);
export const fromBf16 = (bits: number): number => decodeFloat("bf16", bits);

/** f8e8m0 is a power of two, 2^(bits − 127); 255 is NaN. Rounds up or to nearest as asked (ONNX Cast's `round_mode`). */
export function encodeE8M0(x: number, mode: "up" | "down" | "nearest" = "up", saturate = true): number {
  if (Number.isNaN(x)) return 255;
  const a = Math.abs(x);
  if (a === Infinity) return saturate ? 254 : 255;
  if (a === 0) return 0;
  const low = Math.floor(Math.log2(a));
  const floor = 2 ** low > a ? low - 1 : 2 ** (low + 1) <= a ? low + 1 : low;
  const fraction = a / 2 ** floor;
  const up = mode === "up" ? fraction > 1 : mode === "nearest" ? fraction >= 1.5 : false;
  const exponent = floor + (up ? 1 : 0) + 127;
  return exponent < 0 ? 0 : exponent > 254 ? (saturate ? 254 : 255) : exponent;
}

export const decodeE8M0 = (bits: number): number => (bits === 255 ? Number.NaN : 2 ** (bits - 127));
