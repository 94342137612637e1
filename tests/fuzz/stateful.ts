/**
 * Random programs with state: states change places, are shifted along, updated in part or by what another one was, are results as
 * well, and are read inside branches and scans.
 */

import type { Program } from "../../compiler/program.js";
import { graph, param, sameType, type Value } from "../../ir/graph.js";
import { full } from "../../ir/ops/constant.js";
import { max, min } from "../../ir/ops/elementwise.js";
import type { Tensor } from "../../ir/tensor.js";
import { seeded } from "../graph/random.js";
import { feedsFor } from "./fusible.js";
import { Growth, type Known } from "./fusible-steps.js";

/** A program of the entries `main`, which changes the states, and `read`, which gives them. */
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
  const next = states.map((s) => nextOf(s, exact, random));
  const outputs = growth.known.filter((k) => k.value.def.op !== "param" && random() < 0.4).slice(-5);
  const results = [...next, ...outputs.map((k) => k.value), ...states.filter(() => random() < 0.2)];
  const donations = new Map(states.map((s, i) => [i, growth.params.indexOf(s)]));
  const main = graph("main", growth.params, results, undefined, donations);
  const copies = states.map((s) => param(names[growth.params.indexOf(s)]!, s.type));
  const read = graph("read", copies, copies);
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

/** Another state, a value of its type as it is, or one cut to what a state may be. */
function nextOf(state: Value, known: readonly Known[], random: () => number): Value {
  const fit = known.filter((k) => sameType(k.value.type, state.type));
  const recent = random() < 0.4 ? fit.slice(-3) : fit;
  const { value, bound } = recent[Math.floor(random() * recent.length)]!;
  const { dtype, shape } = state.type;
  if (bound <= limit) return value;
  const at = (v: number) => full(dtype, shape, dtype.startsWith("f") ? v : BigInt(v));
  return min([max([value, at(-limit)]), at(limit)]);
}
