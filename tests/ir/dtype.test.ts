/** The element types of the compiler and of the runtime, which know nothing of one another. */
import { expect, it } from "vitest";
import { dtypeInfo, dtypes } from "../../ir/dtype.js";
import { arrayTypes } from "../../runtime/format.js";

it("are the same, in the same arrays", () => {
  expect(Object.keys(arrayTypes).sort()).toEqual([...dtypes].sort());
  for (const d of dtypes) {
    expect(dtypeInfo[d].array, d).toBe(arrayTypes[d]);
    expect(dtypeInfo[d].bytes, d).toBe(arrayTypes[d].BYTES_PER_ELEMENT);
    expect(dtypeInfo[d].bits, d).toBeLessThanOrEqual(8 * dtypeInfo[d].bytes);
  }
});
