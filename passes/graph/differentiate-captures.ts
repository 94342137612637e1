/**
 * Cotangents of what a scan captures: sums over its steps.
 *
 *   Σ aₜᵀ·bₜ = [a₁ a₂ …]ᵀ·[b₁ b₂ …]: what is a product, a reduction or a scatter of values that change from step to step becomes one
 *   over the stacked values, after the loop. Sums pass through what is linear (transposes, slices, factors that stay the same).
 *   What remains is summed from step to step, in a carried value.
 */

import { dimScalar, np, reshapeTo } from "../../ir/build.js";
import { type Dim, dimProduct } from "../../ir/dim.js";
import { dtypeInfo, isFloat } from "../../ir/dtype.js";
import type { GraphNode, Value } from "../../ir/graph.js";
import { copyWith, remake } from "../../ir/graph-rebuild.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { convWeightGrad } from "../../ir/ops/conv.js";
import { scatterND } from "../../ir/ops/indexing.js";
import { sum } from "../../ir/ops/reduce.js";
import { splatOf } from "../pattern.js";

/** A sum over all steps, once the stacked values are there. */
export type Total = (stack: (v: Value) => Value) => Value;

/** What sums ask of the step that their terms are computed in. */
interface Step {
  readonly isInvariant: (v: Value) => boolean;
  /** Of a size that is known outside of the loop. */
  readonly isStackable: (v: Value) => boolean;
  /** The node means the same outside of the loop. */
  readonly isPortable: (n: GraphNode) => boolean;
}

export class StepSums {
  readonly #step: Step;
  readonly #outside: Map<Value, Value>;
  readonly #length: Dim;
  readonly #totals = new Map<Value, Total>();
  readonly #stacked = new Set<Value>();
  readonly #carried = new Map<Value, Value | undefined>();

  /** `captures`: parameters of the step and what they stand for. */
  constructor(step: Step, captures: ReadonlyMap<Value, Value>, length: Dim) {
    this.#step = step;
    this.#outside = new Map(captures);
    this.#length = length;
  }

  /** Values whose stacks are needed. */
  get stacked(): readonly Value[] {
    return [...this.#stacked];
  }

  /** Values that are summed from step to step. */
  get carried(): readonly Value[] {
    return [...this.#carried.keys()];
  }

  finish(v: Value, sum: Value): void {
    this.#carried.set(v, sum);
  }

  total(v: Value): Total {
    const known = this.#totals.get(v);
    if (known !== undefined) return known;
    const made = this.#find(v);
    this.#totals.set(v, made);
    return made;
  }

  #find(v: Value): Total {
    if (this.#step.isInvariant(v)) return () => np.mul(this.#lift(v), dimScalar(this.#length, v.type.dtype));
    if (v.def.op !== "param") {
      const product = this.#product(v.def);
      if (product !== undefined) {
        for (const operand of product.stacked) this.#stacked.add(operand);
        return product.total;
      }
      const through = this.#through(v.def);
      // Where no product is found below, one sum is carried instead of one for each term.
      if (through.some((i) => this.#reachesProduct(v.def as GraphNode, i))) return this.#again(v.def, through);
    }
    this.#carried.set(v, undefined);
    return () => this.#carried.get(v)!;
  }

  #reachesProduct(n: GraphNode, operand: number): boolean {
    const stack = [n.operands[operand]!];
    const seen = new Set<Value>(stack);
    for (let v = stack.pop(); v !== undefined; v = stack.pop()) {
      if (v.def.op === "param") continue;
      if (this.#product(v.def) !== undefined) return true;
      const { operands } = v.def;
      for (const next of this.#through(v.def).map((i) => operands[i]!)) {
        if (!seen.has(next)) stack.push(next);
        seen.add(next);
      }
    }
    return false;
  }

  /** The op on sums of some operands; the others are the same in all steps. */
  #again(n: GraphNode, summed: readonly number[]): Total {
    const totals = n.operands.map((v, i) => (summed.includes(i) ? this.total(v) : undefined));
    return (stack) => {
      const operands = n.operands.map((v, i) => totals[i]?.(stack) ?? this.#lift(v));
      return remake(n, operands).results[0]!;
    };
  }

  /** An invariant value, outside of the loop. */
  #lift(v: Value): Value {
    return copyWith([v], this.#outside)[0]!;
  }

  /** The sum of what a node gives in all steps as one node over stacked operands. */
  #product(n: GraphNode): Product | undefined {
    if (!this.#step.isPortable(n)) return undefined;
    const [a, b, c] = n.operands as readonly [Value, Value, Value];
    const over = (stacked: readonly Value[], total: Total): Product | undefined =>
      stacked.every((v) => this.#step.isStackable(v) && !this.#step.isInvariant(v)) ? { stacked, total } : undefined;
    switch (n.op) {
      case "dotGeneral": {
        const { batchA, batchB, contractA, contractB, ...rest } = n.attrs;
        const next = (axes: readonly number[]) => axes.map((axis) => axis + 1);
        const attrs = {
          batchA: next(batchA),
          batchB: next(batchB),
          contractA: [0, ...next(contractA)],
          contractB: [0, ...next(contractB)],
          ...rest,
        };
        return over([a, b], (stack) => dotGeneral([stack(a), stack(b)], attrs));
      }
      case "sum": {
        const axes = [0, ...n.attrs.axes.map((axis) => axis + 1)];
        const { shape } = n.results[0]!.type;
        return over([a], (stack) => reshapeTo(sum([stack(a)], { axes, keepDims: false }), shape));
      }
      case "convWeightGrad": {
        // Steps are further images of the batch.
        const flat = (v: Value) => {
          const [steps, images, ...rest] = v.type.shape;
          return reshapeTo(v, [dimProduct([steps!, images!]), ...rest]);
        };
        return over([a, b], (stack) => convWeightGrad([flat(stack(a)), flat(stack(b))], n.attrs));
      }
      case "scatterND": {
        // A gather's gradient: rows are added to zeros.
        if (n.attrs.reduction !== "add" || splatOf(a)?.value !== 0) return undefined;
        return over([b, c], (stack) => scatterND([this.#lift(a), stack(b), stack(c)], n.attrs));
      }
      default:
        return undefined;
    }
  }

  /** Which operands the node may be applied to the sums of, because it is linear in them and the others stay the same. */
  #through(n: GraphNode): readonly number[] {
    if (!this.#step.isPortable(n) || !n.operands.every((v) => this.#step.isStackable(v))) return [];
    const changing = [...n.operands.keys()].filter((i) => !this.#step.isInvariant(n.operands[i]!));
    const only = (i: number) => (changing.length === 1 && changing[0] === i ? changing : []);
    switch (n.op) {
      case "add":
      case "sub":
      case "neg":
      case "transpose":
      case "reshape":
      case "broadcast":
      case "slice":
      case "updateSlice":
      case "concat":
        return [...n.operands.keys()];
      case "pad":
        return n.attrs.value === 0 ? changing : [];
      case "cast": {
        const [from, to] = [n.operands[0]!.type.dtype, n.attrs.to];
        // Not in fewer bits than the steps would be summed in.
        return isFloat(from) && isFloat(to) && dtypeInfo[from].bytes >= dtypeInfo[to].bytes ? changing : [];
      }
      case "mul":
      case "dotGeneral":
        return changing.length === 1 ? changing : [];
      case "div":
        return only(0);
      case "scatterND":
        return n.attrs.reduction === "add" && splatOf(n.operands[0]!)?.value === 0 ? only(2) : [];
      default:
        return [];
    }
  }
}

interface Product {
  /** Operands whose stacks are needed. */
  readonly stacked: readonly Value[];
  readonly total: Total;
}
