/** Schedules → modules, weights and manifest: the last stage of compilation. */

import { type Dim, dimAdd, dimBounds, dimSymbols, dimText } from "../ir/dim.js";
import { InternalError, ModelError } from "../ir/errors.js";
import type { LoopFunction } from "../ir/loop.js";
import {
  alignment,
  controlBytes,
  type DimInfo,
  type EntryInfo,
  type LimitInfo,
  type ManifestDim,
  type ManifestDraft,
  type OnnxInfo,
  pageBytes,
  type StepInfo,
  type TensorInfo,
  type VariantId,
} from "../runtime/format.js";
import { KernelSet } from "./kernel-set.js";
import { type OnnxTemplate, onnxTemplate } from "./onnx/export/template.js";
import { type Arena, planArena } from "./plan/arena.js";
import { EntryEmitter, limitSlot } from "./plan/emit.js";
import { allBuffers, placeStateResults } from "./plan/state.js";
import { EntryTable } from "./plan/table.js";
import type { Program } from "./program.js";
import { type Buffer, forEachStep, type Limit, type Schedule, type ScheduledInput, type Step } from "./schedule.js";
import { emitModule, type Variant } from "./wasm/emit.js";
import { type PlacedWeights, placeWeights } from "./weights.js";

export interface AssembleOptions {
  readonly name: string;
  readonly variants: readonly VariantId[];
  /** Most threads that a run may use; per-thread scratch is reserved for as many. */
  readonly maxThreads: number;
  /** Limit of a memory whose size depends on dims without a bound. */
  readonly maxMemoryBytes: number;
  readonly optimizeKernel: (fn: LoopFunction) => LoopFunction;
  readonly producer: string;
}

export interface Assembled {
  readonly draft: ManifestDraft;
  readonly wasm: { readonly [id in VariantId]?: Uint8Array };
  readonly weights: Uint8Array;
  /** For inspection: all functions and the memory plan of each entry. */
  readonly functions: readonly LoopFunction[];
  readonly plans: readonly { readonly schedule: Schedule; readonly arena: Arena }[];
}

const variantOf: Readonly<Record<VariantId, Variant>> = {
  simd128: { simd: "simd128", threads: false },
  "simd128-threads": { simd: "simd128", threads: true },
  relaxed: { simd: "relaxed", threads: false },
  "relaxed-threads": { simd: "relaxed", threads: true },
};

const align = (n: number) => Math.ceil(n / alignment) * alignment;

interface Layout {
  readonly tableOffset: number;
  readonly weightsOffset: number;
  readonly stateOffset: number;
  readonly arenaOffset: number;
}

function layoutFor(slots: number, weights: PlacedWeights): Layout {
  const tableOffset = controlBytes;
  const weightsOffset = align(tableOffset + 4 * slots);
  const stateOffset = align(weightsOffset + weights.weightsBytes);
  return { tableOffset, weightsOffset, stateOffset, arenaOffset: align(stateOffset + weights.stateBytes) };
}

/** What the manifest says of the ONNX template. */
function placedTemplate(
  onnx: OnnxTemplate | { readonly problems: string } | undefined,
  { templateOffset, state }: PlacedWeights,
  { weightsOffset }: Layout,
): { readonly onnx?: OnnxInfo } {
  if (!onnx) return {};
  if ("problems" in onnx) return { onnx };
  const indices = new Map(state.map((s, i) => [s.name, i]));
  return {
    onnx: {
      offset: weightsOffset + templateOffset!,
      bytes: onnx.bytes.length,
      states: onnx.states.map((name) => indices.get(name)!),
    },
  };
}

interface Entry {
  readonly schedule: Schedule;
  readonly arena: Arena;
}

interface EmittedEntry {
  readonly functions: readonly LoopFunction[];
  readonly info: EntryInfo;
  readonly slots: number;
}

export function assemble(lowered: readonly Schedule[], program: Program, options: AssembleOptions): Assembled {
  const entries: Entry[] = lowered.map((s) => {
    const schedule = placeStateResults(s);
    return { schedule, arena: planArena(schedule, options.maxThreads) };
  });
  const weightBuffers = entries.flatMap(({ schedule }) =>
    allBuffers(schedule).filter((b) => b.source.kind === "weight"),
  );
  const onnx = program.training?.predict ? onnxTemplate(program) : undefined;
  const weights = placeWeights(weightBuffers, program.state, onnx && "bytes" in onnx ? onnx.bytes : undefined);
  const kernels = new KernelSet(options.optimizeKernel);
  for (const { schedule } of entries) addKernels(schedule.steps, kernels);

  // Addresses depend on the table's size, and the number of slots is only known after emission: emit twice.
  const measured = emitEntries(entries, weights, layoutFor(0, weights));
  const slots = measured.reduce((n, e) => n + e.slots, 0);
  const layout = layoutFor(slots, weights);
  const emitted = emitEntries(entries, weights, layout);
  if (emitted.reduce((n, e) => n + e.slots, 0) !== slots)
    throw new InternalError("the table's size changed between emissions");

  const largest = emitted.map((e) => e.info.maxBytes);
  const bound = largest.includes(null)
    ? options.maxMemoryBytes
    : Math.max(layout.arenaOffset, ...(largest as number[]));
  if (layout.arenaOffset > options.maxMemoryBytes || (!largest.includes(null) && bound > options.maxMemoryBytes)) {
    throw new ModelError({
      message: `a run needs up to ${bound} bytes of memory, the limit is ${options.maxMemoryBytes}`,
      hint: "narrow the ranges of the dims, or raise maxMemoryBytes (at most 4 GiB)",
    });
  }
  const minPages = Math.max(1, Math.ceil(layout.arenaOffset / pageBytes));
  const maxPages = Math.max(minPages, Math.min(65536, Math.ceil(bound / pageBytes)));
  const functions = [...kernels.functions, ...emitted.flatMap((e) => e.functions)];
  const exports = entries.flatMap(({ schedule }) => [`plan_${schedule.name}`, `run_${schedule.name}`]);
  const wasm: { [id in VariantId]?: Uint8Array } = {};
  for (const id of options.variants) {
    const variant = variantOf[id];
    const memory = { shared: variant.threads, initialPages: minPages, maximumPages: maxPages };
    wasm[id] = emitModule({ functions, exports, memory, variant }).bytes;
  }
  const draft: ManifestDraft = {
    producer: options.producer,
    name: options.name,
    memory: {
      tableOffset: layout.tableOffset,
      tableSlots: slots,
      weightsOffset: layout.weightsOffset,
      weightsBytes: weights.weightsBytes,
      stateOffset: layout.stateOffset,
      stateBytes: weights.stateBytes,
      arenaOffset: layout.arenaOffset,
      minPages,
      maxPages,
      maxThreads: options.maxThreads,
    },
    state: weights.state.map((s) => ({ ...s, offset: s.offset + layout.stateOffset })),
    entries: Object.fromEntries(emitted.map((e, i) => [entries[i]!.schedule.name, e.info])),
    training: program.training ? { ...program.training, ...placedTemplate(onnx, weights, layout) } : null,
    sources: program.sources ?? [],
  };
  return { draft, wasm, weights: weights.file, functions, plans: entries };
}

function addKernels(steps: readonly Step[], kernels: KernelSet): void {
  forEachStep(steps, (s) => {
    if (s.kind === "kernel") kernels.add(s.fn, s.helpers);
  });
}

function emitEntries(entries: readonly Entry[], weights: PlacedWeights, layout: Layout): EmittedEntry[] {
  let firstSlot = 0;
  return entries.map((entry) => {
    const emitted = emitEntry(entry, weights, layout, firstSlot);
    firstSlot += emitted.slots;
    return emitted;
  });
}

function emitEntry(
  { schedule, arena }: Entry,
  weights: PlacedWeights,
  layout: Layout,
  firstSlot: number,
): EmittedEntry {
  const fixed = new Map<Buffer, number>();
  const stateOffsets = new Map(weights.state.map((s) => [s.name, s.offset + layout.stateOffset]));
  for (const b of allBuffers(schedule)) {
    if (b.source.kind === "weight") fixed.set(b, weights.offsets.get(b)! + layout.weightsOffset);
    if (b.source.kind === "state") {
      const at = stateOffsets.get(b.source.name);
      if (at === undefined) throw new InternalError(`no state is called ${b.source.name}`);
      fixed.set(b, at);
    }
  }
  const table = new EntryTable(layout.tableOffset, firstSlot);
  const emitter = new EntryEmitter(schedule, { fixed, arena, arenaOffset: layout.arenaOffset }, table);
  const dims = dimsOf(schedule, table);
  const tensors = (list: readonly ScheduledInput[]): TensorInfo[] =>
    list.map(({ name, view, dtype, shape }) => {
      const at = emitter.viewAddress(view);
      return {
        name,
        dtype: dtype as TensorInfo["dtype"],
        shape: shape.map((d): ManifestDim => (typeof d === "number" ? d : { dim: dimText(d), slot: table.slot(d) })),
        offset: typeof at === "number" ? at : { slot: table.slot(at) },
      };
    });
  const inputs = tensors(schedule.inputs);
  const outputs = tensors(schedule.outputs);
  const run = emitter.run();
  const functions = [...run, emitter.plan()];
  const info: EntryInfo = {
    dims,
    inputs,
    outputs,
    steps: schedule.steps.map(stepInfo),
    mutatesState: schedule.stateResults.length > 0,
    maxBytes: largestRun(dimAdd(arena.bytes, layout.arenaOffset)),
    limits: limitsOf(schedule, table),
  };
  return { functions, info, slots: table.count };
}

function limitsOf(schedule: Schedule, table: EntryTable): LimitInfo[] {
  const found = new Map<string, LimitInfo>();
  const add = (limit: Limit) => {
    const { symbol, where, message, hint } = limit;
    found.set(symbol, { slot: limitSlot(table, limit), where, message, hint });
  };
  for (const r of schedule.requirements) add(r.limit);
  forEachStep(schedule.steps, (step) => {
    for (const a of step.kind === "kernel" ? step.args : []) if (a.kind === "limitSlot") add(a.limit);
  });
  return [...found.values()];
}

/** The named sizes that feeds bind, in order of the inputs. */
function dimsOf(schedule: Schedule, table: EntryTable): DimInfo[] {
  const found = new Map<string, DimInfo>();
  for (const input of schedule.inputs) {
    for (const d of input.shape) {
      for (const s of dimSymbols(d).values()) {
        if (found.has(s.name)) continue;
        const symbol: Dim = { kind: "dim", constant: 0, terms: [{ coefficient: 1, atoms: [s] }], key: s.name };
        found.set(s.name, {
          name: s.name,
          min: s.min,
          max: Number.isFinite(s.max) ? s.max : null,
          slot: table.slot(symbol),
        });
      }
    }
  }
  return [...found.values()];
}

function stepInfo(s: Step): StepInfo {
  return { name: s.loc ?? "", kernel: s.kind === "kernel" ? s.fn.name : s.kind };
}

function largestRun(total: Dim): number | null {
  if (typeof total === "number") return total;
  const { max } = dimBounds(total);
  return Number.isFinite(max) ? max : null;
}
