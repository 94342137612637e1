/** Dims out of text. */

import { applyAtom, type Dim, dimAdd, dimMul, dimScaled, dimSub } from "./dim.js";
import { ModelError } from "./errors.js";

/** Parses the text of `dimText`. Symbols are looked up by name. Throws ModelError with the offending text. */
export function parseDim(text: string, symbol: (name: string) => Dim): Dim {
  let at = 0;
  const fail = (what: string): never => {
    throw new ModelError(`bad dimension "${text}": ${what} at column ${at + 1}`);
  };
  const skip = () => {
    while (text[at] === " ") at++;
  };
  const take = (c: string): boolean => {
    skip();
    if (text[at] !== c) return false;
    at++;
    return true;
  };
  const primary = (): Dim => {
    skip();
    if (take("(")) {
      const d = sum();
      if (!take(")")) fail("expected )");
      return d;
    }
    const number = /^-?\d+/.exec(text.slice(at));
    if (number) {
      at += number[0].length;
      return Number(number[0]);
    }
    const name = /^[A-Za-z_][\w.]*/.exec(text.slice(at))?.[0];
    if (name === undefined) return fail("expected a number, name or (");
    at += name.length;
    if (name === "floordiv" || name === "mod" || name === "min" || name === "max") {
      if (!take("(")) fail("expected (");
      const a = sum();
      if (!take(",")) fail("expected ,");
      const b = sum();
      if (!take(")")) fail("expected )");
      return applyAtom(name, a, b);
    }
    if (name === "scaled") {
      if (!take("(")) fail("expected (");
      const a = sum();
      if (!take(",")) fail("expected ,");
      skip();
      const factor = /^\d+(\.\d+)?(e[+-]?\d+)?/.exec(text.slice(at))?.[0];
      if (factor === undefined || Math.fround(Number(factor)) !== Number(factor)) return fail("expected an f32");
      at += factor.length;
      if (!take(")")) fail("expected )");
      return dimScaled(a, Number(factor));
    }
    return symbol(name);
  };
  const product = (): Dim => {
    let d = primary();
    while (take("*")) d = dimMul(d, primary());
    return d;
  };
  const sum = (): Dim => {
    let d = product();
    for (;;) {
      if (take("+")) d = dimAdd(d, product());
      else if (take("-")) d = dimSub(d, product());
      else return d;
    }
  };
  const d = sum();
  skip();
  if (at !== text.length) fail("unexpected text");
  return d;
}
