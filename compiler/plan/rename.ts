/** Steps over other buffers. */

import { type Buffer, isView, type Step, type View } from "../schedule.js";

export function renameView(v: View, replaced: ReadonlyMap<Buffer, Buffer>): View {
  const to = replaced.get(v.buffer);
  return to === undefined ? v : { buffer: to, offset: v.offset };
}

/** The step with other buffers in place of those of the map. */
export function rename(step: Step, replaced: ReadonlyMap<Buffer, Buffer>): Step {
  const view = (v: View) => renameView(v, replaced);
  switch (step.kind) {
    case "kernel":
      return { ...step, args: step.args.map((a) => (a.kind === "view" ? { ...a, view: view(a.view) } : a)) };
    case "copy":
      return { ...step, from: view(step.from), to: view(step.to) };
    case "check":
      return step;
    case "if":
      return {
        ...step,
        condition: view(step.condition),
        then: step.then.map((s) => rename(s, replaced)),
        else: step.else.map((s) => rename(s, replaced)),
      };
    case "once":
      return { ...step, done: view(step.done), body: step.body.map((s) => rename(s, replaced)) };
    case "for":
      return {
        ...step,
        count: isView(step.count) ? view(step.count) : step.count,
        condition: step.condition && view(step.condition),
        body: step.body.map((s) => rename(s, replaced)),
      };
  }
}
