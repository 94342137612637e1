/** Which sizes and addresses a schedule reads at run time: those need slots in the table before code that reads them is emitted. */

import {
  type Dim,
  dimBounds,
  dimMul,
  dimSub,
  dimSubstitute,
  dimSymbol,
  dimSymbols,
  dimText,
  symbolDim,
} from "../../ir/dim.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { productOf } from "../../ir/ops/movement.js";
import {
  type Arg,
  type CopyStep,
  type ForStep,
  forEachStep,
  innerSteps,
  isView,
  type KernelStep,
  type Limit,
  type Schedule,
  type Step,
} from "../schedule.js";
import { usesOf } from "./liveness.js";
import type { Placement } from "./placement.js";
import { Slots } from "./table.js";

/** Stands for the slot that says whether a limit was broken. */
export const limitDim = ({ symbol }: Limit): Dim => dimSymbol(`limit.${symbol}`);

/** Stand for the slots that keep a loop's number of rounds, and the round it is in, while the run is interrupted. */
export const loopState = ({ symbol }: ForStep): readonly [Dim, Dim] => [
  dimSymbol(`${symbol}.count`, { min: 0 }),
  dimSymbol(`${symbol}.round`, { min: 0 }),
];

export const copiedBytes = (step: CopyStep): Dim => dimMul(step.count, dtypeInfo[step.from.buffer.dtype].bytes);

/** A sum as the part that stays the same in the loops around, which is one value, and the part that is computed in them. */
export function splitAtLoops(
  d: Dim,
  isLoop: (symbol: string) => boolean,
): { readonly fixed: Dim; readonly varying: Dim } {
  if (typeof d === "number" || ![...dimSymbols(d).keys()].some(isLoop)) return { fixed: d, varying: 0 };
  const fixed = dimSubstitute(d, (s) => (isLoop(s.name) ? 0 : undefined));
  return typeof fixed === "number" ? { fixed: 0, varying: d } : { fixed, varying: dimSub(d, fixed) };
}

/** What code reads: a value, or where its slot is. */
export interface Operand {
  readonly dim: Dim;
  readonly isSlot?: boolean;
  /** An address or a number of bytes, or a size. */
  readonly type: "ptr" | "i32";
}

function operandsOfArg(a: Arg, placement: Placement): readonly Operand[] {
  switch (a.kind) {
    case "view":
      return [{ dim: placement.address(a.view), type: "ptr" }];
    case "dim":
      return [{ dim: a.value, type: "i32" }];
    case "f32":
      return [];
    case "scratch": {
      const base = { dim: placement.scratchAddress(a), type: "ptr" } as const;
      return a.perThread ? [base, { dim: placement.scratch(a).stride, type: "ptr" }] : [base];
    }
    case "sizeSlot":
      return [{ dim: dimSymbol(a.symbol), isSlot: true, type: "ptr" }];
    case "limitSlot":
      return [{ dim: limitDim(a.limit), isSlot: true, type: "ptr" }];
  }
}

export type Leaf = KernelStep | CopyStep;

export const isLeaf = (step: Step): step is Leaf => step.kind === "kernel" || step.kind === "copy";

/** What the code of a step reads, in its order: of a kernel the arguments and chunks, of a copy target, source and bytes. */
export function operandsOf(step: Leaf, placement: Placement): readonly Operand[] {
  if (step.kind === "copy")
    return [placement.address(step.to), placement.address(step.from), copiedBytes(step)].map((dim) => ({
      dim,
      type: "ptr",
    }));
  return [...step.args.flatMap((a) => operandsOfArg(a, placement)), { dim: step.chunks ?? 0, type: "i32" }];
}

/** What a step itself reads; the steps inside control flow are not included. */
function readsOf(step: Step, placement: Placement): readonly Dim[] {
  switch (step.kind) {
    case "kernel":
    case "copy":
      return operandsOf(step, placement).map((o) => o.dim);
    case "check":
      return step.requirements.map((r) => limitDim(r.limit));
    case "if":
      return [placement.address(step.condition)];
    case "once":
      return [placement.address(step.done)];
    case "for":
      return [
        isView(step.count) ? placement.address(step.count) : step.count,
        step.condition ? placement.address(step.condition) : 0,
        ...loopState(step),
      ];
  }
}

/** Everything that the plan, the run or the manifest of an entry reads. */
export function collectSlots(schedule: Schedule, placement: Placement): Slots {
  const slots = new Slots();
  for (const { view, shape } of [...schedule.inputs, ...schedule.outputs]) {
    for (const d of shape) slots.add(d);
    slots.add(placement.address(view));
  }
  const loops = new Set<string>();
  const visit = (steps: readonly Step[]): void => {
    for (const step of steps) {
      if (step.kind === "for") loops.add(step.symbol);
      for (const d of readsOf(step, placement)) {
        const { fixed, varying } = splitAtLoops(d, (s) => loops.has(s));
        slots.add(fixed);
        slots.addSymbols(varying, loops);
      }
      // Evaluated in doubles, from the symbols.
      for (const { value } of step.kind === "check" ? step.requirements : []) slots.addSymbols(value);
      for (const inner of innerSteps(step)) visit(inner);
      if (step.kind === "for") loops.delete(step.symbol);
    }
  };
  visit(schedule.steps);
  for (const { symbol } of schedule.counted) slots.add(symbolDim(symbol));
  for (const { limit } of schedule.requirements) slots.add(limitDim(limit));
  for (const symbol of unknownSymbols(schedule)) slots.add(symbol);
  const { stages } = placement.arena;
  for (const { symbol } of stages) slots.add(dimSymbol(symbol, { min: 0 }));
  // These are evaluated where they are needed: their symbols need slots, they themselves don't.
  const evaluated = [
    placement.end,
    ...schedule.requirements.map((r) => r.value),
    ...elementCounts(schedule, true),
    ...stages.flatMap((s) => [s.begin, s.end]),
  ];
  for (const d of evaluated) slots.addSymbols(d);
  return slots;
}

/** A tensor has fewer elements. */
export const tooManyElements = 2 ** 31;

/**
 * Numbers of elements that sizes may make too many before their bytes are: kernels count in 32 bits. Within 4 GiB only bytes can be
 * so many.
 *
 * @param wide whether addresses may have 64 bits
 */
export function elementCounts(schedule: Schedule, wide: boolean): readonly Dim[] {
  const found = new Map<string, Dim>();
  forEachStep(schedule.steps, (step) => {
    for (const { view } of usesOf(step)) {
      if (!wide && dtypeInfo[view.buffer.dtype].bytes > 1) continue;
      const count = productOf(view.buffer.shape);
      if (typeof count === "number" || dimBounds(count).max < tooManyElements) continue;
      if ([...dimSymbols(count).values()].every((s) => s.bound === undefined)) found.set(dimText(count), count);
    }
  });
  return [...found.values()];
}

/** Data-dependent symbols that a kernel of the schedule writes, as dims. */
export function unknownSymbols(schedule: Schedule): readonly Dim[] {
  const found = new Map<string, Dim>();
  const visit = (d: Dim) => {
    for (const s of dimSymbols(d).values()) if (s.bound !== undefined) found.set(s.name, symbolDim(s));
  };
  forEachStep(schedule.steps, (step) => {
    for (const u of usesOf(step)) for (const d of u.view.buffer.shape) visit(d);
    if (step.kind === "kernel") for (const a of step.args) if (a.kind === "dim") visit(a.value);
    if (step.kind === "for" && !isView(step.count)) visit(step.count);
    for (const { value } of step.kind === "check" ? step.requirements : []) visit(value);
  });
  for (const o of schedule.outputs) for (const d of o.shape) visit(d);
  return [...found.values()];
}
