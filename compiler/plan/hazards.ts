/** Where the threads of a run must wait for one another: a step that touches memory which another thread may still write or read. */

import { type Dim, dimAdd, dimText } from "../../ir/dim.js";
import { InternalError } from "../../ir/errors.js";
import type { Buffer, Step } from "../schedule.js";
import { bufferBytes } from "./arena.js";
import type { Placement } from "./emit.js";
import { usesOf } from "./liveness.js";

type Leaf = Extract<Step, { kind: "kernel" | "copy" }>;

interface Touch {
  /** Byte range where sizes are static; else the pool's address, as text. */
  readonly from: number | string;
  readonly to: number;
  readonly write: boolean;
  /** By several threads, or by thread 0 alone. */
  readonly parallel: boolean;
}

export class Hazards {
  #touched: Touch[] = [];
  readonly #placement: Placement;
  readonly #address: (b: Buffer) => Dim;
  readonly #static: boolean;

  constructor(placement: Placement, address: (b: Buffer) => Dim) {
    this.#placement = placement;
    this.#address = address;
    this.#static = typeof placement.arena.bytes === "number";
  }

  clear(): void {
    this.#touched = [];
  }

  /** Whether a barrier must stand before the step. Takes note of what the step touches. */
  before(step: Leaf): boolean {
    const touches = this.#touches(step);
    const conflict = touches.some((t) => this.#touched.some((o) => conflicts(t, o)));
    if (conflict) this.clear();
    this.#touched.push(...touches);
    return conflict;
  }

  #touches(step: Leaf): Touch[] {
    const parallel = step.kind === "kernel" && step.chunks !== undefined;
    const touches = usesOf(step).flatMap(({ view, access }): Touch[] => {
      const range = this.#range(this.#address(view.buffer), bufferBytes(view.buffer));
      const write = access !== "read";
      // Weights are never written.
      return view.buffer.source.kind === "weight" ? [] : [{ ...range, write, parallel }];
    });
    if (step.kind === "kernel") {
      for (const a of step.args) {
        if (a.kind !== "scratch") continue;
        const place = this.#placement.arena.scratch.get(a);
        if (place === undefined) throw new InternalError("scratch has no place");
        touches.push({
          ...this.#range(dimAdd(place.offset, this.#placement.arenaOffset), place.bytes),
          write: true,
          parallel,
        });
      }
    }
    return touches;
  }

  #range(address: Dim, bytes: Dim): { from: number | string; to: number } {
    if (this.#static && typeof address === "number" && typeof bytes === "number")
      return { from: address, to: address + bytes };
    return { from: dimText(address), to: 0 };
  }
}

function conflicts(a: Touch, b: Touch): boolean {
  if (!(a.write || b.write) || !(a.parallel || b.parallel)) return false;
  if (typeof a.from === "number" && typeof b.from === "number") return a.from < b.to && b.from < a.to;
  return a.from === b.from;
}
