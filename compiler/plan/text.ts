/** The memory plan for people: what lies where, from when to when. */

import { dimText } from "../../ir/dim.js";
import { typeText } from "../../ir/graph.js";
import { type Arg, isView, type Schedule, type Step, type View } from "../schedule.js";
import type { Arena } from "./arena.js";
import { bufferBytes, liveness } from "./liveness.js";

export function planText(schedule: Schedule, arena: Arena): string {
  const { intervals } = liveness(schedule);
  const lines = [`entry ${schedule.name}: arena ${dimText(arena.bytes)} bytes`];
  for (const [b, { start, end }] of intervals) {
    const offset = arena.offsets.get(b);
    const where = offset === undefined ? b.source.kind : `arena+${dimText(offset)}`;
    lines.push(`  #${b.id} ${typeText(b)} ${dimText(bufferBytes(b))} bytes at ${where}, steps ${start}..${end}`);
  }
  const view = (v: View) => `#${v.buffer.id}${v.offset === 0 ? "" : `+${dimText(v.offset)}`}`;
  const arg = (a: Arg): string => {
    switch (a.kind) {
      case "view":
        return `${a.access === "read" ? "" : a.access === "write" ? "out " : "inout "}${view(a.view)}`;
      case "dim":
        return dimText(a.value);
      case "f32":
        return String(a.value);
      case "scratch":
        return `scratch ${dimText(a.bytes)}`;
      case "sizeSlot":
        return `&${a.symbol}`;
      case "limitSlot":
        return `&limit of ${a.limit.symbol}`;
    }
  };
  const steps = (list: readonly Step[], indent: string): void => {
    for (const s of list) {
      const loc = s.loc ? `  // ${s.loc}` : "";
      if (s.kind === "kernel") {
        const chunks = s.chunks === undefined ? "" : ` in ${dimText(s.chunks)} chunks`;
        lines.push(`${indent}${s.fn.name}(${s.args.map(arg).join(", ")})${chunks}${loc}`);
      } else if (s.kind === "copy") lines.push(`${indent}copy ${view(s.from)} to ${view(s.to)}${loc}`);
      else if (s.kind === "check") {
        const all = s.requirements.map(({ value, must }) => `${dimText(value)} must ${must}`);
        lines.push(`${indent}check ${all.join(", ")}${loc}`);
      } else if (s.kind === "once") {
        lines.push(`${indent}once ${view(s.done)}${loc}`);
        steps(s.body, `${indent}  `);
      } else if (s.kind === "if") {
        lines.push(`${indent}if ${view(s.condition)}${loc}`);
        steps(s.then, `${indent}  `);
        lines.push(`${indent}else`);
        steps(s.else, `${indent}  `);
      } else {
        const count = isView(s.count) ? view(s.count) : dimText(s.count);
        const condition = s.condition ? ` while ${view(s.condition)}` : "";
        lines.push(`${indent}for ${s.symbol} in ${s.reverse ? `${count}..0` : `0..${count}`}${condition}${loc}`);
        steps(s.body, `${indent}  `);
      }
    }
  };
  steps(schedule.steps, "  ");
  return lines.join("\n");
}
