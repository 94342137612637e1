/** Where buffers lie: a region of memory and an offset in it. The regions' addresses are known once all slots of the table are. */

import { type Dim, type DimSymbol, dimAdd, dimMul, dimSymbol } from "../../ir/dim.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { InternalError } from "../../ir/errors.js";
import type { Arg, Buffer, View } from "../schedule.js";
import type { Arena } from "./arena.js";
import type { Stage } from "./stages.js";

export type Region = "weights" | "state" | "prepared" | "arena";

/** First byte of each region. */
export type Bases = Readonly<Record<Region, number>>;

export interface Place {
  readonly region: Region;
  readonly offset: Dim;
}

const prefix = "_base.";
const baseOf: Readonly<Record<Region, Dim>> = {
  weights: dimSymbol(`${prefix}weights`, { min: 0 }),
  state: dimSymbol(`${prefix}state`, { min: 0 }),
  prepared: dimSymbol(`${prefix}prepared`, { min: 0 }),
  arena: dimSymbol(`${prefix}arena`, { min: 0 }),
};

/** The region that a symbol in an address stands for. */
export const regionOf = (s: DimSymbol): Region | undefined =>
  s.name.startsWith(prefix) ? (s.name.slice(prefix.length) as Region) : undefined;

/** Addresses as expressions of sizes and of the regions' symbols. */
export class Placement {
  readonly arena: Arena;
  readonly #fixed: ReadonlyMap<Buffer, Place>;

  /** `fixed`: weights, state, and what is prepared of them. */
  constructor(fixed: ReadonlyMap<Buffer, Place>, arena: Arena) {
    this.#fixed = fixed;
    this.arena = arena;
  }

  place(buffer: Buffer): Place {
    const fixed = this.#fixed.get(buffer);
    if (fixed !== undefined) return fixed;
    const offset = this.arena.offsets.get(buffer);
    if (offset === undefined) throw new InternalError(`buffer ${buffer.id} has no place`);
    return { region: "arena", offset };
  }

  /** Byte address of the view's first element. */
  address({ buffer, offset }: View): Dim {
    const place = this.place(buffer);
    return dimAdd(dimAdd(place.offset, dimMul(offset, dtypeInfo[buffer.dtype].bytes)), baseOf[place.region]);
  }

  /** Bytes of all threads' scratch, where they start, and the distance from one thread's to the next. */
  scratch(arg: Arg): Place & { readonly bytes: Dim; readonly stride: Dim } {
    const place = this.arena.scratch.get(arg);
    if (place === undefined) throw new InternalError("scratch has no place");
    return { region: "arena", ...place };
  }

  /** Byte address of the first thread's scratch. */
  scratchAddress(arg: Arg): Dim {
    return dimAdd(this.scratch(arg).offset, baseOf.arena);
  }

  /** First byte behind what is placed before a run. */
  get end(): Dim {
    return dimAdd(this.arena.bytes, baseOf.arena);
  }

  /** First byte behind a stage. */
  endOf(stage: Stage): Dim {
    return dimAdd(stage.end, baseOf.arena);
  }
}
