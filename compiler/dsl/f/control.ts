/**
 * Control flow. Bodies are functions that build nodes; what they use from outside is captured, weights included, and gets gradients.
 * State is a value, a list or a record of values, as deep as wanted.
 */

import { broadcastTo, dtypeOf, np, rankOf, reshapeTo, shapeOf } from "../../../ir/build.js";
import { ifOp, loopOp, scanOp } from "../../../ir/control-build.js";
import type { Dim } from "../../../ir/dim.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { scalarConstant } from "../../../ir/ops/constant.js";
import { aBoolean, anything, atLeast, checked } from "../../options.js";
import { toBool } from "./cast.js";
import { leaves, rebuilt, requireSameForm, type Structure } from "./structure.js";

export type { Structure };

/** A condition as a bool scalar. */
function truth(condition: Value, what: string): Value {
  const b = toBool(condition);
  if (rankOf(b) === 0) return b;
  if (shapeOf(b).some((d) => d !== 1)) throw new ModelError(`${what} is one bool, but got ${typeText(condition.type)}`);
  return reshapeTo(b, []);
}

/** What `yes` gives where the condition (one bool) holds, else what `no` gives. Only that one runs (torch.cond, lax.cond). */
export function cond<S extends Structure>(condition: Value, yes: () => S, no: () => S): S {
  let form: S | undefined;
  const results = ifOp(
    truth(condition, "the condition of cond"),
    () => {
      form = yes();
      return leaves(form, "cond's first function");
    },
    () => {
      const other = no();
      const values = leaves(other, "cond's second function");
      requireSameForm(form, other, "what cond's functions give");
      return values;
    },
  );
  return rebuilt(form!, results);
}

export interface WhileOptions {
  /** Rounds at most. Default: no limit. */
  readonly maxTrips?: number;
}

/** Runs the body on the state while the condition holds (torch while_loop, lax.while_loop). With `maxTrips` it has a gradient. */
export function whileLoop<S extends Structure>(
  condition: (state: S) => Value,
  body: (state: S) => S,
  init: S,
  options?: WhileOptions,
): S {
  const { maxTrips } = checked("whileLoop", options, { maxTrips: atLeast(0) });
  const start = leaves(init, "whileLoop's state");
  const { carried } = loopOp(
    {
      carried: start,
      condition: truth(condition(init), "whileLoop's condition"),
      ...(maxTrips === undefined ? {} : { tripCount: scalarConstant("i64", maxTrips) }),
    },
    (_, values) => {
      const next = body(rebuilt(init, values));
      const made = leaves(next, "whileLoop's body");
      requireSameForm(init, next, "whileLoop's state before and after its body");
      return { carried: fitted(made, start), condition: truth(condition(next), "whileLoop's condition") };
    },
  );
  return rebuilt(init, carried);
}

/** Values as the state's: of its dtypes and shapes, where they broadcast to them. */
const fitted = (values: readonly Value[], like: readonly Value[]): readonly Value[] =>
  values.map((v, i) =>
    dtypeOf(v) === dtypeOf(like[i]!) && rankOf(v) < rankOf(like[i]!) ? broadcastTo(v, shapeOf(like[i]!)) : v,
  );

export interface ScanOptions {
  /** Steps, where there are no inputs. Default: the size of the inputs' first axis. */
  readonly length?: Dim;
  /** From the last row to the first; rows of the results stay in the order of the inputs. Default false. */
  readonly reverse?: boolean;
}

/**
 * Runs `step(carry, rows)` for each row of the inputs' first axes: it gives the next carry and a row of results. Gives the last carry
 * and the stacked rows. Inputs may be undefined where a length is given (lax.scan).
 */
export function scan<C extends Structure, X extends Structure | undefined, Y extends Structure>(
  step: (carry: C, rows: X) => readonly [carry: C, rows: Y],
  init: C,
  inputs: X,
  options?: ScanOptions,
): readonly [carry: C, rows: Y] {
  const { length, reverse = false } = checked("scan", options, { length: anything, reverse: aBoolean });
  const start = leaves(init, "scan's carry");
  const sequences = inputs === undefined ? [] : leaves(inputs, "scan's inputs");
  let form: Y | undefined;
  const { carried, scanned } = scanOp(
    { carried: start, inputs: sequences, reverse, ...(length === undefined ? {} : { length }) },
    (state, rows) => {
      const result = step(rebuilt(init, state), (inputs === undefined ? undefined : rebuilt(inputs, rows)) as X);
      if (!Array.isArray(result) || result.length !== 2)
        throw new ModelError("scan's step gives [carry, rows]; rows may be an empty list");
      const [next, row] = result as unknown as readonly [C, Y];
      const made = leaves(next, "scan's step");
      requireSameForm(init, next, "scan's carry before and after a step");
      form = row;
      return { carried: fitted(made, start), scanned: leaves(row, "scan's step") };
    },
  );
  return [rebuilt(init, carried), rebuilt(form!, scanned)];
}

/** Runs `body(i, state)` for i = 0 … count − 1 (lax.fori_loop): a scan, so that it has a gradient. i is an i64 scalar. */
export function forLoop<S extends Structure>(count: Dim, body: (i: Value, state: S) => S, init: S): S {
  const [state] = scan(
    ({ i, s }: { i: Value; s: S }) => [{ i: np.add(i, 1), s: body(i, s) }, []],
    { i: scalarConstant("i64", 0), s: init },
    undefined,
    { length: count },
  );
  return state.s;
}
