/** The steps of a schedule as blocks, of which each is the code of one function, and what that code reads. */

import { numberText } from "../../ir/literal.js";
import type { Expr } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import type { Schedule, Step } from "../schedule.js";
import { Hazards } from "./hazards.js";
import type { Placement } from "./placement.js";
import { isLeaf, type Leaf, type Operand, operandsOf } from "./reads.js";
import { segmentsOf, shareColumns } from "./repeats.js";
import type { EntryTable } from "./table.js";

/** Steps of a function: engines compile function by function, and a huge one compiles late. */
const mostSteps = 32;

/** So many steps from the first on, which stand several times in the schedule, `period` steps apart. */
interface Place {
  readonly first: number;
  readonly steps: number;
  readonly period: number;
  readonly times: number;
}

export interface BlockStep {
  readonly step: Step;
  /** Its number in the schedule. */
  readonly index: Expr;
  /** Whether a barrier stands before it. Control flow has its own. */
  readonly waits: boolean;
  /** What `operandsOf` lists. */
  readonly operands: readonly Expr[];
}

export interface Block {
  readonly steps: readonly BlockStep[];
  /** Types of the parameters p0, p1 … that its code reads. */
  readonly params: readonly ("ptr" | "i32")[];
}

export interface BlockCall {
  readonly block: Block;
  readonly args: readonly Expr[];
}

/** Blocks in the order in which they are called: one that repeats is called several times. */
export function blockCalls(schedule: Schedule, placement: Placement, table: EntryTable): readonly BlockCall[] {
  const waits = waitsOf(schedule, new Hazards(placement));
  return segmentsOf(alike(schedule, placement, table, waits)).flatMap(({ first, period, times }) => {
    const made = Array.from({ length: Math.ceil(period / mostSteps) }, (_, i) => {
      const from = i * mostSteps;
      const place = { first: first + from, steps: Math.min(mostSteps, period - from), period, times };
      return makeBlock(schedule, placement, table, waits, place);
    });
    return Array.from({ length: times }, (_, t) =>
      made.map(({ block, params }) => ({
        block,
        args: params.map((numbers, i) => b.constant(block.params[i]!, numbers[t]!)),
      })),
    ).flat();
  });
}

function waitsOf({ steps }: Schedule, hazards: Hazards): readonly boolean[] {
  return steps.map((step) => {
    if (isLeaf(step)) return hazards.before(step);
    hazards.control(step);
    return false;
  });
}

/** Numbers of the steps, the same for those whose code differs in numbers only. */
function alike(
  { steps }: Schedule,
  placement: Placement,
  table: EntryTable,
  waits: readonly boolean[],
): readonly number[] {
  const known = new Map<string, number>();
  return steps.map((step, i) => {
    const key = isLeaf(step) ? formOf(step, placement, table, waits[i]!) : undefined;
    const id = (key === undefined ? undefined : known.get(key)) ?? i;
    if (key !== undefined) known.set(key, id);
    return id;
  });
}

/** What the code of a step is but for numbers; undefined where sizes are found: what slots hold changes there. */
function formOf(step: Leaf, placement: Placement, table: EntryTable, waits: boolean): string | undefined {
  const kinds = operandsOf(step, placement).map((o) => (sourceOf(o, table).isSlot ? "s" : "n"));
  const head = `${waits ? "wait " : ""}${step.kind} ${kinds.join("")}`;
  if (step.kind === "copy") return head;
  if (step.args.some((a) => a.kind === "sizeSlot")) return undefined;
  const args = step.args.map((a) => {
    if (a.kind === "f32") return numberText(a.value);
    return a.kind === "scratch" ? `${a.kind} ${a.perThread}` : a.kind;
  });
  return `${head} ${step.fn.name}(${args}) ${step.chunks !== undefined}`;
}

/** A number of the code, or the address of the slot where it stands. */
interface Source {
  readonly isSlot: boolean;
  readonly number: number;
  /** Of what is read. */
  readonly type: "ptr" | "i32";
}

function sourceOf({ dim, isSlot, type }: Operand, table: EntryTable): Source {
  return isSlot ? { isSlot: false, number: table.address(table.slot(dim)), type } : { ...table.source(dim), type };
}

const numberType = ({ isSlot, type }: Source) => (isSlot ? "ptr" : type);

function makeBlock(
  schedule: Schedule,
  placement: Placement,
  table: EntryTable,
  waits: readonly boolean[],
  { first, steps, period, times }: Place,
): { readonly block: Block; readonly params: readonly (readonly number[])[] } {
  const starts = Array.from({ length: times }, (_, t) => first + t * period);
  const repetitions = starts.map((start) =>
    schedule.steps
      .slice(start, start + steps)
      .map((step) => (isLeaf(step) ? operandsOf(step, placement).map((o) => sourceOf(o, table)) : [])),
  );
  const rows = repetitions.map((list) => list.flat());
  const types = ["i32" as const, ...rows[0]!.map(numberType)];
  const columns = [starts, ...rows[0]!.map((_, c) => rows.map((row) => row[c]!.number))];
  const { shared, params } = shareColumns(columns, types);
  const paramTypes: ("ptr" | "i32")[] = [];
  const numbers = shared.map((s, i): Expr => {
    const type = types[i]!;
    if ("value" in s) return b.constant(type, s.value);
    paramTypes[s.param] = type;
    const param = b.v(`p${s.param}`, type);
    return s.plus === 0 ? param : b.add(param, b.constant(type, s.plus));
  });
  const start = numbers[0]!;
  let at = 1;
  const made = repetitions[0]!.map(
    (sources, i): BlockStep => ({
      step: schedule.steps[first + i]!,
      index: times === 1 ? b.i32(first + i) : b.add(start, b.i32(i)),
      waits: waits[first + i]!,
      operands: sources.map(({ isSlot, type }) => {
        const number = numbers[at++]!;
        return isSlot ? table.load(number, type) : number;
      }),
    }),
  );
  return { block: { steps: made, params: paramTypes }, params };
}
