/**
 * Random programs with state: states change places, are shifted along, updated in part or by what another one was, are results as
 * well, are read inside branches and scans, and are changed in branches, some of which leave some as they are.
 */

import type { Program } from "../../compiler/program.js";
import { amax } from "../../ir/build.js";
import { ifOp } from "../../ir/control-build.js";
import { dimSub } from "../../ir/dim.js";
import { graph, param, sameType, type Value } from "../../ir/graph.js";
import { cast } from "../../ir/ops/cast.js";
import { full } from "../../ir/ops/constant.js";
import { add, max, min, sub } from "../../ir/ops/elementwise.js";
import { gt } from "../../ir/ops/logic.js";
import { slice } from "../../ir/ops/movement.js";
import { reduceMin } from "../../ir/ops/reduce.js";
import type { Tensor } from "../../ir/tensor.js";
import { seeded } from "../graph/random.js";
import { feedsFor } from "./fusible.js";
import { Growth, type Known } from "./fusible-steps.js";

/** A program of the entries `main`, which changes the states, and `read`, which gives them and what is made of them. */
export interface Stateful {
  readonly program: Program;
  /** Inputs of `main`, run by run. */
  readonly runs: readonly (readonly Tensor[])[];
  /** How far each output of `main` may lie from the reference. */
  readonly reach: readonly number[];
}

/** Largest magnitude of a state, so that sums stay exact over any number of runs. */
const limit = 4;

export function growStateful(seed: number, steps: readonly number[]): Stateful {
  const growth = new Growth(seed, { symbolic: false, writers: seed % 3 === 0, control: seed % 2 === 0 });
  const random = seeded(seed ^ 0x57a7e);
  for (const s of steps) growth.step(s);
  const names = growth.params.map((p) => (p.def.op === "param" ? p.def.name : ""));
  const isState = growth.params.map((_, i) => i < 2 || random() < 0.5);
  const states = growth.params.filter((_, i) => isState[i]);
  const exact = growth.known.filter((k) => k.reach === 0);
  const branched = seed % 4 === 1 ? [] : states.filter(() => random() < 0.6);
  const inBranch = changedInBranches(branched, exact, random);
  const next = states.map((s) => {
    const at = branched.indexOf(s);
    return at < 0 ? nextOf(s, exact, random) : inBranch[at]!;
  });
  const outputs = growth.known.filter((k) => k.value.def.op !== "param" && random() < 0.4).slice(-5);
  const results = [...next, ...outputs.map((k) => k.value), ...states.filter(() => random() < 0.2)];
  const donations = new Map(states.map((s, i) => [i, growth.params.indexOf(s)]));
  const main = graph("main", growth.params, results, undefined, donations);
  const copies = states.map((s) => param(names[growth.params.indexOf(s)]!, s.type));
  // What is made of states alone stays the same in runs of this entry, until the other changes them.
  const shift = param("shift", { dtype: "f32", shape: [] });
  const largest = copies.map((s) => largestWith(s, shift));
  const read = graph("read", [...copies, shift], [...copies, ...largest]);
  const first = feedsFor(states, random, new Map());
  const inputs = growth.params.filter((_, i) => !isState[i]);
  return {
    program: {
      entries: { main, read },
      state: copies.map((p, i) => ({
        name: p.def.op === "param" ? p.def.name : "",
        role: "param",
        tensor: first[i]!,
      })),
    },
    runs: [0, 1, 2, 3].map(() => feedsFor(inputs, random, new Map())),
    reach: results.slice(next.length).map((_, i) => outputs[i]?.reach ?? 0),
  };
}

/** Next values of states that branches make, as deep as two within one another. */
function changedInBranches(
  states: readonly Value[],
  known: readonly Known[],
  random: () => number,
  depth = 0,
): readonly Value[] {
  if (states.length === 0) return [];
  const sample = known[Math.floor(random() * known.length)]!.value;
  const least = reduceMin([sample], { axes: [...sample.type.shape.keys()], keepDims: false });
  const { dtype } = least.type;
  const isPositive = gt([least, full(dtype, [], dtype.startsWith("f") ? 0 : 0n)]);
  const shuffled = states.map((s) => [random(), s] as const).sort(([a], [b]) => a - b);
  const alike = (s: Value, list: readonly Value[]) => list.filter((o) => sameType(o.type, s.type));
  const branch = (idle: number) => () => {
    // Of one kind states change places; what is computed from all of them at once is in the way of writing any in place.
    const kind = random();
    const inner = kind < 0.3 && depth === 0 ? changedInBranches(states, known, random, 1) : undefined;
    return states.map((s, i) => {
      if (inner !== undefined) return inner[i]!;
      if (random() < idle) return s;
      if (kind > 0.7)
        return alike(
          s,
          shuffled.map(([, o]) => o),
        )[alike(s, states).indexOf(s)]!;
      const other = nextOf(s, known, random);
      const made = random() < 0.5 ? other : random() < 0.5 ? add([s, other]) : sub([other, s]);
      return made === other ? other : clamped(made);
    });
  };
  return ifOp(isPositive, branch(0.1), branch(random() < 0.6 ? 1 : 0.5));
}

function largestWith(s: Value, shift: Value): Value {
  const numbers = s.type.dtype === "bool" ? cast([s], { to: "f32" }) : s;
  return max([cast([amax(numbers)], { to: "f32" }), shift]);
}

/** Another state, a value of its type as it is, or one cut to what a state may be. */
function nextOf(state: Value, known: readonly Known[], random: () => number): Value {
  const fit = known.filter((k) => sameType(k.value.type, state.type));
  const recent = random() < 0.4 ? fit.slice(-3) : fit;
  const { value, bound } = recent[Math.floor(random() * recent.length)]!;
  const near = bound <= limit ? value : clamped(value);
  return random() < 0.2 ? reversed(near) : near;
}

/** Along the first axis that has a size. What is computed so can't be written over what it is computed of. */
function reversed(value: Value): Value {
  const { shape } = value.type;
  const axis = shape.findIndex((d) => d !== 1);
  if (axis < 0) return value;
  const along = <T>(there: T, elsewhere: T) => shape.map((_, a) => (a === axis ? there : elsewhere));
  return slice([value], { starts: along(dimSub(shape[axis]!, 1), 0), sizes: shape, steps: along(-1, 1) });
}

function clamped(value: Value): Value {
  const { dtype, shape } = value.type;
  const at = (v: number) => full(dtype, shape, dtype.startsWith("f") ? v : BigInt(v));
  return min([max([value, at(-limit)]), at(limit)]);
}
