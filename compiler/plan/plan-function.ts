/** `plan_E`: evaluates the sizes and addresses of a run into the table, and says how many bytes it needs. */

import { type Dim, dimSub, dimSymbol, dimText, symbolDim } from "../../ir/dim.js";
import type { Expr, LoopFunction, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import { planOverflow, planRefused } from "../../runtime/format.js";
import type { Schedule } from "../schedule.js";
import { broken, checks } from "./limits.js";
import type { Placement } from "./placement.js";
import { elementCounts, tooManyElements, unknownSymbols } from "./reads.js";
import type { EntryTable } from "./table.js";

/** Slots in a row from which on those that are equal steps apart are filled by a loop. */
const longProgression = 4;

export function planFunction(schedule: Schedule, placement: Placement, table: EntryTable): LoopFunction {
  const { requirements } = schedule;
  const total = placement.end;
  const statements: Stmt[] = [];
  const largest = b.v("largest", "f64");
  let names = 0;
  const fresh = (hint: string) => `${hint}_${names++}`;
  const keep = (key: Dim, value: Dim): readonly Stmt[] =>
    table.keep(table.slot(key), table.inDoubles(value), largest, fresh("d"));
  for (const { symbol, state } of schedule.counted) {
    const at = table.read(placement.address({ buffer: state, offset: 0 }), "ptr");
    statements.push(...storeCount(table, symbolDim(symbol), b.load("i64", "i64", at, b.i32(0)), fresh("count")));
  }
  statements.push(b.mut("largest", table.inDoubles(total)));
  // Sizes that data decide are 0 until they are found. What depends on them is evaluated anew then; a way through branches that
  // does not find some of them leaves these at 0.
  for (const d of unknownSymbols(schedule)) statements.push(...keep(d, 0));
  for (const { symbol, begin } of placement.arena.stages) statements.push(...keep(dimSymbol(symbol), begin));
  for (const { values, first, step } of progressions(table.derived(), table.words)) {
    if (values.length < longProgression) {
      for (const value of values) statements.push(...keep(value, value));
      continue;
    }
    const [x, by] = [fresh("d"), fresh("step")];
    statements.push(
      b.mut(x, table.inDoubles(values[0]!)),
      { kind: "let", name: by, value: table.inDoubles(step) },
      b.forLoop(fresh("i"), 0, values.length, 1, (i) => [
        table.store(first, i, b.v(x, "f64")),
        b.assign(largest, b.binary("pmax", largest, b.v(x, "f64"))),
        b.assign(x, b.add(b.v(x, "f64"), b.v(by, "f64"))),
      ]),
    );
  }
  // A tensor that has too many elements is told as a run that needs too much.
  for (const count of elementCounts(schedule, table.wide)) {
    const scaled = b.mul(table.inDoubles(count), b.f64(table.beyond / tooManyElements));
    statements.push(b.assign(largest, b.binary("pmax", largest, scaled)));
  }
  if (requirements.length > 0)
    statements.push(
      ...checks(table, requirements, () => fresh("actual")),
      b.ifThen(
        broken(
          table,
          requirements.map((r) => r.limit),
        ),
        [b.ret(b.ptr(planRefused))],
      ),
    );
  statements.push(b.ifThen(b.ge(largest, b.f64(table.beyond)), [{ kind: "return", value: b.ptr(planOverflow) }]), {
    kind: "return",
    value: b.convert("ptr.from_f64U", table.inDoubles(total)),
  });
  return { name: `plan_${schedule.name}`, params: [], result: "ptr", body: statements };
}

/** Keeps a count of 64 bits in its slot; one that no size can be stays out of range there. */
const storeCount = (table: EntryTable, size: Dim, count: Expr, name: string): readonly Stmt[] =>
  b.letIn(name, b.convert("f64.from_i64S", count), (x) => [
    table.store(table.slot(size), 0, b.max(b.min(x, b.f64(2 ** 31 - 1)), b.f64(-1))),
  ]);

interface Progression {
  readonly first: number;
  readonly values: Dim[];
  step: Dim;
}

/** Runs of neighbouring slots whose values are equal steps apart: the caches of equal layers, one behind the other. */
function progressions(
  derived: readonly { readonly slot: number; readonly value: Dim }[],
  words: number,
): readonly Progression[] {
  const found: Progression[] = [];
  for (const { slot, value } of derived) {
    const run = found.at(-1);
    const isNext = run !== undefined && slot === run.first + words * run.values.length;
    const step = isNext ? dimSub(value, run.values.at(-1)!) : 0;
    if (isNext && (run.values.length === 1 || dimText(step) === dimText(run.step))) {
      run.step = step;
      run.values.push(value);
    } else found.push({ first: slot, values: [value], step: 0 });
  }
  return found;
}
