/**
 * Whether several buffers may take turns in one place of memory, the ways of a run through branches kept apart: what a branch
 * stores, nobody finds who comes another way. `alias.ts` answers the same for temporaries by intervals, which know no ways.
 */

import { dimEqual } from "../../ir/dim.js";
import { productOf } from "../../ir/ops/movement.js";
import { type Buffer, type CopyStep, type IfStep, innerSteps, type Schedule, type Step } from "../schedule.js";
import { inPlaceAt } from "./alias.js";
import { sameBytes, usesOf } from "./liveness.js";

/** A turn that a run takes at an `if`. */
interface Turn {
  readonly at: IfStep;
  readonly branch: number;
}

/** A step that touches a buffer. */
interface Event {
  readonly step: Step;
  readonly position: number;
  readonly way: readonly Turn[];
  readonly inLoop: boolean;
}

/** What the memory holds on one way through the run. */
interface Held {
  /** Buffers whose value lies there. */
  readonly values: ReadonlySet<Buffer>;
  /** Those of which something has been stored. */
  readonly stored: ReadonlySet<Buffer>;
}

/** The copy of a whole buffer to a whole one of the same kind. */
export function isWholeCopy({ from, to, count }: CopyStep): boolean {
  const [a, b] = [from.buffer, to.buffer];
  const isWhole = from.offset === 0 && to.offset === 0 && dimEqual(count, productOf(b.shape));
  return isWhole && a.dtype === b.dtype && sameBytes(a, b);
}

export class SharedMemory {
  readonly #events = new Map<Buffer, Event[]>();
  readonly #unsure: Event[] = [];
  /** Buffers by the state whose memory they use. */
  readonly #groups = new Map<Buffer, Buffer[]>();
  readonly #taken = new Set<Buffer>();
  /** Read after all steps. */
  readonly #outputs: ReadonlySet<Buffer>;

  /** `mayEndRun` says at which kernels, checks and loops a run may end: nothing is stored in a state before one of them. */
  constructor(schedule: Schedule, mayEndRun: (step: Step) => boolean) {
    this.#outputs = new Set(schedule.outputs.map((o) => o.view.buffer));
    let position = 0;
    const visit = (steps: readonly Step[], way: readonly Turn[], inLoop: boolean): void => {
      for (const step of steps) {
        const event = { step, position: position++, way, inLoop };
        for (const b of new Set(usesOf(step).map((u) => u.view.buffer))) {
          const list = this.#events.get(b);
          if (list === undefined) this.#events.set(b, [event]);
          else list.push(event);
        }
        if (mayEndRun(step)) this.#unsure.push(event);
        for (const [branch, inner] of innerSteps(step).entries())
          visit(inner, step.kind === "if" ? [...way, { at: step, branch }] : way, inLoop || step.kind === "for");
      }
    };
    visit(schedule.steps, [], false);
  }

  /** Lets the temporary use the state's memory, where every reader of either finds what it should. Says whether it does. */
  share(state: Buffer, temporary: Buffer): boolean {
    if (this.#taken.has(temporary)) return false;
    const group = [...(this.#groups.get(state) ?? [state]), temporary];
    if (!this.#fits(state, new Set(group))) return false;
    this.#groups.set(state, group);
    this.#taken.add(temporary);
    return true;
  }

  #fits(state: Buffer, group: ReadonlySet<Buffer>): boolean {
    const events = new Set([...group].flatMap((b) => this.#events.get(b) ?? []));
    const inOrder = [...events].sort((a, b) => a.position - b.position);
    const start: Held = { values: new Set([state]), stored: new Set([state]) };
    const end = this.#follow(inOrder, 0, start, group);
    const isRead = (b: Buffer) => b === state || this.#outputs.has(b);
    return end !== undefined && [...group].every((b) => !isRead(b) || end.values.has(b));
  }

  /** What the memory holds after the events, whose ways are the same up to `depth`; undefined where a reader does not find its value. */
  #follow(events: readonly Event[], depth: number, start: Held, group: ReadonlySet<Buffer>): Held | undefined {
    let held: Held | undefined = start;
    for (let i = 0; i < events.length && held !== undefined; ) {
      const turn = events[i]!.way[depth];
      if (turn === undefined) {
        held = this.#after(events[i++]!, held, group);
        continue;
      }
      const first = i;
      while (i < events.length && events[i]!.way[depth]?.at === turn.at) i++;
      const inside = events.slice(first, i);
      const before: Held = held;
      const ends = [0, 1].map((branch) =>
        this.#follow(
          inside.filter((e) => e.way[depth]!.branch === branch),
          depth + 1,
          before,
          group,
        ),
      );
      held = joined(ends[0], ends[1]);
    }
    return held;
  }

  #after({ step, position, way, inLoop }: Event, held: Held, group: ReadonlySet<Buffer>): Held | undefined {
    const uses = usesOf(step).filter((u) => group.has(u.view.buffer));
    if (uses.some((u) => u.access !== "write" && !held.values.has(u.view.buffer))) return undefined;
    const written = [...new Set(uses.flatMap((u) => (u.access === "read" ? [] : [u.view.buffer])))];
    const [target] = written;
    if (target === undefined) return held;
    if (written.length > 1 || inLoop) return undefined;
    const read = uses.map((u) => u.view.buffer).filter((b) => b !== target);
    if (step.kind === "copy" && read.length > 0)
      // All of it stays where it is.
      return isWholeCopy(step) ? { values: new Set([...held.values, target]), stored: with1(held, target) } : undefined;
    const isLasting = [...group].some((b) => b.source.kind === "state" && !b.source.isCache);
    if (isLasting && this.#unsure.some((e) => e.position > position && !excludes(e.way, way))) return undefined;
    if (step.kind === "kernel" && !read.every((b) => inPlaceAt(step, target, b))) return undefined;
    // What is stored in parts must not have been overwritten between them.
    const isNew = !held.stored.has(target) || (step.kind === "copy" && isWholeCopy(step));
    if (!isNew && !held.values.has(target)) return undefined;
    return { values: new Set([target]), stored: with1(held, target) };
  }
}

const with1 = ({ stored }: Held, b: Buffer): ReadonlySet<Buffer> => new Set([...stored, b]);

/** Whether no run takes both ways. */
const excludes = (a: readonly Turn[], b: readonly Turn[]): boolean =>
  a.some((x) => b.some((y) => x.at === y.at && x.branch !== y.branch));

/** What is there whichever way the run took. */
function joined(a: Held | undefined, b: Held | undefined): Held | undefined {
  if (a === undefined || b === undefined) return undefined;
  return {
    values: new Set([...a.values].filter((v) => b.values.has(v))),
    stored: new Set([...a.stored, ...b.stored]),
  };
}
