/** What has become of facts. */

import type { Facts } from "./facts.js";

/** Share by which code may grow or shrink unnoticed: constants of other lengths, a register more. */
const codeTolerance = 0.02;

const change = (name: string, was: number, is: number): string => {
  const share = was === 0 ? "" : ` (${is > was ? "+" : "−"}${(Math.abs(is / was - 1) * 100).toFixed(1)} %)`;
  return `${name}: ${was} → ${is}${share}`;
};

/** A line for each fact that is another one. */
export function differences(was: Facts, is: Facts): readonly string[] {
  const { families: familiesBefore, ...before } = was;
  const { families: familiesNow, ...now } = is;
  const numbers = (Object.keys(now) as (keyof typeof now)[]).flatMap((name) => {
    const [a, b] = [before[name], now[name]];
    const same = name === "codeBytes" ? Math.abs(a - b) <= codeTolerance * a : a === b;
    return same ? [] : [change(name, a, b)];
  });
  const families = [...new Set([...Object.keys(familiesBefore), ...Object.keys(familiesNow)])].flatMap((name) => {
    const [a, b] = [familiesBefore[name] ?? 0, familiesNow[name] ?? 0];
    return a === b ? [] : [change(`steps of ${name}`, a, b)];
  });
  return [...numbers, ...families];
}
