/** Special functions in double precision, for references. */

/** Error function. Series with positive terms below 3, continued fraction above (Abramowitz & Stegun 7.1.6, 7.1.14). */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (a === 0) return x;
  if (a > 6) return Math.sign(x);
  const value = a < 3 ? erfSeries(a) : 1 - erfcFraction(a);
  return x < 0 ? -value : value;
}

function erfSeries(a: number): number {
  let term = a;
  let sum = a;
  for (let n = 1; term > sum * 1e-17; n++) {
    term *= (2 * a * a) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum;
}

function erfcFraction(a: number): number {
  let f = a;
  for (let n = 60; n >= 1; n--) f = a + n / 2 / f;
  return Math.exp(-a * a) / Math.sqrt(Math.PI) / f;
}

/** Logistic function without overflow. */
export function sigmoid(x: number): number {
  if (x >= 0) return 1 / (1 + Math.exp(-x));
  const e = Math.exp(x);
  return e / (1 + e);
}

/** Nearest integer, ties to even. −0 and halves below it keep their sign. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
  return rounded === 0 && (x < 0 || Object.is(x, -0)) ? -0 : rounded;
}
