/** A profile as text, and as events for trace viewers. */

import { type Group, groupsOf, type Profile } from "./profile.js";

const ms = (t: number): string => (t < 0.1 ? `${(t * 1000).toFixed(1)} µs` : `${t.toFixed(t < 10 ? 3 : 1)} ms`);
const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(0)} %`;
const speed = (amount: number | null, time: number): string =>
  amount === null || time === 0 ? "" : (amount / time / 1e6).toFixed(1);

type Row = readonly string[];

function rowsOf(groups: readonly Group[], whole: number, most: number): Row[] {
  const rows = groups
    .slice(0, most)
    .map(
      ({ name, steps, ms: time, operations, bytes, limitMs }): Row => [
        ms(time),
        percent(time, whole),
        String(steps),
        speed(operations, time),
        speed(bytes, time),
        limitMs === null ? "" : percent(limitMs, time),
        name,
      ],
    );
  const rest = groups.slice(most);
  if (rest.length === 0) return rows;
  const time = rest.reduce((sum, g) => sum + g.ms, 0);
  const steps = rest.reduce((sum, g) => sum + g.steps, 0);
  return [...rows, [ms(time), percent(time, whole), String(steps), "", "", "", `${rest.length} more`]];
}

const head: Row = ["time", "share", "steps", "GFLOP/s", "GB/s", "limit", ""];

/** Columns aligned with spaces: numbers to the right, names to the left. */
function aligned(rows: readonly Row[]): string {
  const widths = head.map((_, i) => Math.max(...rows.map((r) => r[i]!.length)));
  const last = head.length - 1;
  return rows
    .map((r) =>
      r
        .map((cell, i) => (i === last ? cell : cell.padStart(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** @param most rows of each table */
export function profileText(profile: Profile, most: number): string {
  const { model, entry, variant, threads, hardware, run, steps, bounds } = profile;
  const whole = steps.reduce((sum, s) => sum + s.ms, 0);
  const kernels = groupsOf(steps, (s) => s.kernel);
  const layers = groupsOf(steps, (s) => s.name || `(${s.kernel})`);
  const isKnown = steps.every((s) => s.limitMs !== null);
  const lines = [
    `${model}, entry ${entry}: ${variant}, ${threads} thread${threads > 1 ? "s" : ""}`,
    `a run takes ${ms(run.min)} at least, ${ms(run.median)} in the middle; its ${steps.length} steps alone ${ms(whole)}`,
    `one thread of this machine: ${hardware.gflops.toFixed(1)} GFLOP/s, reads ${hardware.gigabytes.toFixed(1)} GB/s, ${hardware.cachedGigabytes.toFixed(0)} from its cache`,
    ...(isKnown
      ? []
      : ["of steps whose sizes are not known (decided by data, or of an artefact) only the time is told"]),
    "",
    "by kernel",
    aligned([head, ...rowsOf(kernels, whole, most)]),
    "",
    "by layer",
    aligned([head, ...rowsOf(layers, whole, most)]),
  ];
  if (bounds.length > 0)
    lines.push(
      "",
      `as chunks are cut, ${bounds.map((b) => `${b.threads} threads are at most ${b.speedup.toFixed(2)}`).join(", ")} times as fast`,
    );
  return lines.join("\n");
}

/** Events of the Trace Event Format, which Perfetto and chrome://tracing open: one run, step after step. */
export function profileTrace({ steps, model, entry }: Profile): { readonly traceEvents: readonly object[] } {
  let at = 0;
  const events = steps.map(({ name, kernel, ms: time, operations, bytes, limitMs }) => {
    const event = {
      name: name || kernel,
      cat: kernel,
      ph: "X",
      ts: at * 1000,
      dur: time * 1000,
      pid: 1,
      tid: 1,
      args: { kernel, operations, bytes, limitMs },
    };
    at += time;
    return event;
  });
  const named = (what: string, name: string) => ({ name: what, ph: "M", pid: 1, tid: 1, args: { name } });
  return { traceEvents: [named("process_name", model), named("thread_name", entry), ...events] };
}
