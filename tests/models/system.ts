/** What tests know of a system of models/: how it is trained in little time, and what is compared after export. */

import { existsSync, readdirSync } from "node:fs";

export interface Reduced {
  /** Rounds, in place of the module's own. */
  readonly epochs: number;
  /** Samples to learn from, of data sets that can be cut; default: all. */
  readonly samples?: number;
  /** The figure that tells whether it learns, better the larger it is; default: the goal's. For goals that say nothing so early. */
  readonly figure?: string;
  /** What the figure reaches so, from the side of the goal: what the untrained system misses. */
  readonly reaches: number;
}

/** How an entry is compared after export, with random values. */
export interface Exported {
  readonly entry: string;
  /** Sizes; default: the least, but at least 3. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Least and largest of whole numbers; default [0, 9]. Floats are in [0, 1). */
  readonly range?: readonly [least: number, largest: number];
}

export interface System {
  readonly reduced: Reduced;
  /** Entries without randomness or new state, which ONNX can express. */
  readonly exported: readonly Exported[];
}

const models = new URL("../../models/", import.meta.url);

/** Folders of models/ that hold a system, which is what has a `train.ts`. Each is described by a file of its name in tests/models/systems. */
export const folders = readdirSync(models, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && existsSync(new URL(`${entry.name}/train.ts`, models)))
  .map((entry) => entry.name)
  .sort();
