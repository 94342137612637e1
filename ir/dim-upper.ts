/** The largest values of expressions with data-dependent symbols. */

import {
  type Atom,
  applyAtom,
  atomBounds,
  atomDim,
  type Dim,
  dimAdd,
  dimBounds,
  dimFloorDiv,
  dimMax,
  dimMin,
  dimMul,
  dimScaled,
  dimSymbols,
} from "./dim.js";

/**
 * The most that the expression can be for any values of its data-dependent symbols, without them: what buffers are planned for.
 * Other symbols stay.
 */
export const dimUpperBound = (d: Dim): Dim => extreme(d, true);

function extreme(d: Dim, upper: boolean): Dim {
  if (typeof d === "number" || ![...dimSymbols(d).values()].some((s) => s.bound !== undefined)) return d;
  const best = upper ? dimMax : dimMin;
  return d.terms.reduce<Dim>((sum, { coefficient, atoms }) => {
    const up = upper === coefficient > 0;
    // Factors that may be negative turn the direction of the others: the best of all combinations.
    const signed = atoms.length > 1 && atoms.some((a) => atomBounds(a).min < 0);
    const ends = signed ? [true, false] : [up];
    const products = atoms.reduce<readonly Dim[]>(
      (all, a) => all.flatMap((p) => ends.map((end) => dimMul(p, extremeAtom(a, end)))),
      [coefficient],
    );
    return dimAdd(sum, products.reduce(best));
  }, d.constant);
}

function extremeAtom(a: Atom, upper: boolean): Dim {
  if (a.kind === "symbol" && a.bound !== undefined) return upper ? dimUpperBound(a.bound) : a.min;
  const whole = atomDim(a);
  if (a.kind === "symbol" || ![...dimSymbols(whole).values()].some((s) => s.bound !== undefined)) return whole;
  switch (a.kind) {
    case "scaled":
      return dimScaled(extreme(a.a, upper), a.factor);
    case "min":
    case "max":
      return applyAtom(a.kind, extreme(a.a, upper), extreme(a.b, upper));
    case "floordiv": {
      const by = [extreme(a.b, true), dimMax(extreme(a.b, false), 1)];
      return by.map((b) => dimFloorDiv(extreme(a.a, upper), b)).reduce(upper ? dimMax : dimMin);
    }
    case "mod":
      if (!upper) return 0;
      // A remainder of what is not negative is no larger than that.
      return dimBounds(a.a).min < 0
        ? dimAdd(extreme(a.b, true), -1)
        : dimMin(extreme(a.a, true), dimAdd(extreme(a.b, true), -1));
  }
}
