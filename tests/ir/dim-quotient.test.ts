import { describe, expect, it } from "vitest";
import { dimAdd, dimEqual, dimFloorDiv, dimMod, dimMul, dimSymbol } from "../../ir/dim.js";

describe("a quotient and its remainder", () => {
  const n = dimSymbol("n", { min: 0 });
  const m = dimSymbol("m", { min: 0 });
  it("make the whole again", () => {
    const whole = dimAdd(dimMul(dimFloorDiv(n, 32), 32), dimMod(n, 32));
    expect(dimEqual(whole, n)).toBe(true);
    const sum = dimAdd(dimMul(n, 3), m);
    const scaled = dimAdd(dimAdd(dimMul(dimFloorDiv(sum, 5), 10), dimMul(dimMod(sum, 5), 2)), 7);
    expect(dimEqual(scaled, dimAdd(dimMul(sum, 2), 7))).toBe(true);
  });
  it("stay apart where they do not belong together", () => {
    const other = dimAdd(dimMul(dimFloorDiv(n, 32), 16), dimMod(n, 32));
    expect(dimEqual(other, n)).toBe(false);
    expect(dimEqual(dimAdd(dimMul(dimFloorDiv(m, 32), 32), dimMod(n, 32)), n)).toBe(false);
  });
});
