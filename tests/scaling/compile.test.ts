/**
 * The time to compile grows as the model does: eight times the nodes take at most so much longer. `bench/compile-scaling.ts` draws
 * the slopes up to 10,000 nodes.
 */
import { describe, expect, it } from "vitest";
import { families } from "./families.js";
import { measure } from "./measure.js";

const [few, many] = [150, 1200];
/** Times for eight times the nodes: 12 is a slope of 1.2; the rest is for a machine that does other things too. */
const most = 18;
/** What is over in so many milliseconds says nothing about growth. */
const floor = 100;

describe("time to compile", () => {
  it.each(Object.keys(families))("%s", { timeout: 300_000 }, async (name) => {
    const make = families[name]!;
    // Code that has not run yet is slow.
    await measure(make(few));
    const small = await measure(make(few));
    const ratio = async (): Promise<number> =>
      (await measure(make(many))).milliseconds / Math.max(floor, small.milliseconds);
    const first = await ratio();
    expect(first <= most ? first : Math.min(first, await ratio())).toBeLessThanOrEqual(most);
  });
});
