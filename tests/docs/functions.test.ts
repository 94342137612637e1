/** docs/FUNCTIONS.md is what the sources say of F, and says something of each function. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { F } from "../../compiler/dsl/index.js";
import { functionsOfF } from "../../scripts/function-signatures.js";
import { functionReference, page } from "../../scripts/generate-function-reference.js";

it("the page is up to date (npx tsx scripts/generate-function-reference.ts)", () => {
  expect(readFileSync(page, "utf8") === functionReference()).toBe(true);
});

it("every function of F is on it, with its parameters and what it does", () => {
  const found = functionsOfF();
  expect(found.map((f) => f.name).sort()).toEqual(Object.keys(F).sort());
  for (const f of found) {
    expect(f.doc, f.name).toMatch(/\w/);
    const least = (F as unknown as Record<string, { length: number }>)[f.name]!.length;
    expect(f.parameters.length, f.name).toBeGreaterThanOrEqual(least);
  }
});
