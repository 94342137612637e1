/** What follows a step that finds sizes: what depends on them is evaluated, stages are placed, and memory grows to hold them. */

import { type Dim, dimSymbol, dimSymbols } from "../../ir/dim.js";
import type { Expr, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import { wordStop } from "../../runtime/format.js";
import { setWord } from "./leaving.js";
import type { Placement } from "./placement.js";
import type { Stage } from "./stages.js";
import type { EntryTable } from "./table.js";

const dependsOn = (d: Dim, symbols: ReadonlySet<string>) => [...dimSymbols(d).keys()].some((s) => symbols.has(s));

/**
 * For one thread, after the step at `position` has found `sizes`. Where memory can't be had, the word `wordStop` is set.
 * @param fresh makes names of registers.
 */
export function afterFinding(
  table: EntryTable,
  placement: Placement,
  sizes: Iterable<string>,
  position: number,
  fresh: (hint: string) => string,
): readonly Stmt[] {
  const { stages, found } = placement.arena;
  const sizesOf = new Map(stages.map((s) => [s.symbol, s.sizes]));
  const changed = new Set(sizes);
  /** Depends on what was found, and on nothing that is going to be. */
  const isDue = (d: Dim) =>
    dependsOn(d, changed) &&
    !found.awaits(new Set([...dimSymbols(d).keys()].flatMap((s) => [...(sizesOf.get(s) ?? [s])])), position);
  const largestName = fresh("largest");
  const largest: Expr = b.v(largestName, "f64");
  const out: Stmt[] = [b.mut(largestName, b.f64(0))];
  const keep = (key: Dim, value: Dim) =>
    out.push(...table.keep(table.slot(key), table.inDoubles(value), largest, fresh("d")));
  const placed: Stage[] = [];
  for (const stage of stages) {
    if (isDue(stage.begin)) {
      keep(dimSymbol(stage.symbol), stage.begin);
      changed.add(stage.symbol);
    }
    if (isDue(stage.end)) placed.push(stage);
  }
  for (const { value } of table.derived()) if (isDue(value)) keep(value, value);
  // Without stages, room for the bounds was planned before the run.
  if (stages.length === 0) return out;
  const ends = placed.map((s) => table.inDoubles(placement.endOf(s)));
  const most = ends.reduce<Expr>((x, y) => b.max(x, y), b.f64(0));
  const needName = fresh("need");
  // A size that does not fit a slot needs more than there can be.
  const need = b.select(b.ge(largest, b.f64(table.beyond)), largest, most);
  return [
    ...out,
    { kind: "let", name: needName, value: need },
    b.ifThen(b.eq(b.reserve(b.v(needName, "f64")), b.i32(0)), [setWord(wordStop, b.i32(1))]),
  ];
}
