/** Code that sets and looks at limits: slots of the table that say what of a run does not fit its data. */

import type { Expr, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import type { Limit, Requirement } from "../schedule.js";
import { limitDim } from "./reads.js";
import type { EntryTable } from "./table.js";

export const limitAddress = (table: EntryTable, limit: Limit): Expr =>
  b.ptr(table.address(table.slot(limitDim(limit))));

/**
 * Sets the limits of the requirements that do not hold, on one thread. What is no number holds nothing.
 * @param fresh makes names of registers
 */
export const checks = (table: EntryTable, requirements: readonly Requirement[], fresh: () => string): readonly Stmt[] =>
  requirements.flatMap(({ value, must, limit }) =>
    b.letIn(fresh(), table.inDoubles(value), (x) => [
      b.ifThen(b.not(must === "be zero" ? b.eq(x, b.f64(0)) : b.ge(x, b.f64(0))), [
        b.store("i32", limitAddress(table, limit), b.i32(0), b.i32(1)),
      ]),
    ]),
  );

/** Whether any of the limits is broken. */
export function broken(table: EntryTable, limits: readonly Limit[]): Expr {
  const set = limits.map((limit) => b.load("i32", "i32", limitAddress(table, limit), b.i32(0)));
  return b.ne(
    set.reduce((x, y) => b.or(x, y)),
    b.i32(0),
  );
}
