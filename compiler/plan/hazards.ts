/** Where the threads of a run must wait for one another: a step that touches memory which another thread may still write or read. */

import { type Dim, dimText } from "../../ir/dim.js";
import type { Step } from "../schedule.js";
import { bufferBytes, usesOf } from "./liveness.js";
import type { Placement, Region } from "./placement.js";

type Leaf = Extract<Step, { kind: "kernel" | "copy" }>;

interface Touch {
  readonly region: Region;
  /** Byte range in the region where sizes are static; else the pool's offset, as text. */
  readonly from: number | string;
  readonly to: number;
  readonly write: boolean;
  /** By several threads, or by thread 0 alone. */
  readonly parallel: boolean;
}

/** A barrier in so many touches costs nothing, and bounds what each step is compared with. */
const mostTouches = 512;

export class Hazards {
  #touched: Touch[] = [];
  readonly #placement: Placement;
  readonly #static: boolean;

  constructor(placement: Placement) {
    this.#placement = placement;
    this.#static = typeof placement.arena.bytes === "number";
  }

  clear(): void {
    this.#touched = [];
  }

  /** A step of control flow: all threads wait for one another in it, but where nothing is left to do once. */
  control({ kind }: Exclude<Step, Leaf>): void {
    if (kind !== "once") this.clear();
  }

  /** Whether a barrier must stand before the step. Takes note of what the step touches. */
  before(step: Leaf): boolean {
    const touches = this.#touches(step);
    const conflict =
      this.#touched.length > mostTouches || touches.some((t) => this.#touched.some((o) => conflicts(t, o)));
    if (conflict) this.clear();
    this.#touched.push(...touches);
    return conflict;
  }

  #touches(step: Leaf): Touch[] {
    const parallel = step.kind === "kernel" && step.chunks !== undefined;
    const touches = usesOf(step).flatMap(({ view, access }): Touch[] => {
      const { region, offset } = this.#placement.place(view.buffer);
      // Weights are never written.
      if (region === "weights") return [];
      return [{ region, ...this.#range(offset, bufferBytes(view.buffer)), write: access !== "read", parallel }];
    });
    if (step.kind === "kernel") {
      for (const a of step.args) {
        if (a.kind !== "scratch") continue;
        const { region, offset, bytes } = this.#placement.scratch(a);
        touches.push({ region, ...this.#range(offset, bytes), write: true, parallel });
      }
    }
    return touches;
  }

  #range(offset: Dim, bytes: Dim): { from: number | string; to: number } {
    if (this.#static && typeof offset === "number" && typeof bytes === "number")
      return { from: offset, to: offset + bytes };
    return { from: dimText(offset), to: 0 };
  }
}

function conflicts(a: Touch, b: Touch): boolean {
  if (a.region !== b.region || !(a.write || b.write) || !(a.parallel || b.parallel)) return false;
  if (typeof a.from === "number" && typeof b.from === "number") return a.from < b.to && b.from < a.to;
  return a.from === b.from;
}
