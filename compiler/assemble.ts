/** Schedules → modules, weights and manifest: the last stage of compilation. */

import { type Dim, dimBounds, dimSymbols, dimText, symbolDim } from "../ir/dim.js";
import { InternalError, ModelError } from "../ir/errors.js";
import type { LoopFunction } from "../ir/loop.js";
import {
  alignment,
  type ByteParts,
  controlBytes,
  type DimInfo,
  type EntryInfo,
  isWide,
  type LimitInfo,
  type ManifestDim,
  type ManifestDraft,
  mostPages,
  type OnnxInfo,
  pageBytes,
  type SizeRelation,
  type StepInfo,
  type TensorInfo,
  type VariantId,
  variantIds,
} from "../runtime/format.js";
import { placeTensors } from "../runtime/safetensors.js";
import { KernelSet } from "./kernel-set.js";
import { type Arena, planArena } from "./plan/arena.js";
import { EntryEmitter } from "./plan/emit.js";
import { usesOf } from "./plan/liveness.js";
import { type Bases, type Place, Placement } from "./plan/placement.js";
import { planFunction } from "./plan/plan-function.js";
import { prepare, type WeightsPolicy } from "./plan/prepare.js";
import { collectSlots, limitDim } from "./plan/reads.js";
import { allBuffers, placeStateResults } from "./plan/state.js";
import { EntryTable, type Slots, slotWords } from "./plan/table.js";
import { gradientGuard, type OnnxTemplate, type Program, weightStates } from "./program.js";
import { type Buffer, forEachStep, limitsIn, type Schedule, type ScheduledInput, type Step } from "./schedule.js";
import { emitModule, type Variant } from "./wasm/emit.js";
import { Contents, type PlacedWeights, placeWeights, storedBytes } from "./weights.js";

export interface AssembleOptions {
  readonly name: string;
  readonly variants: readonly VariantId[];
  /** Most threads that a run may use; per-thread scratch is reserved for as many. */
  readonly maxThreads: number;
  /** Limit of a memory whose size depends on dims without a bound. */
  readonly maxMemoryBytes: number;
  /** What is computed from weights once and kept. Default `"auto"`. */
  readonly weights?: WeightsPolicy;
  readonly optimizeKernel: (fn: LoopFunction) => LoopFunction;
  readonly producer: string;
  /** The model as ONNX without its weights, of a program that trains. */
  readonly template?: OnnxTemplate | { readonly problems: string };
}

export interface Assembled {
  readonly draft: ManifestDraft;
  readonly wasm: { readonly [id in VariantId]?: Uint8Array };
  readonly weights: ByteParts;
  /** For inspection: all functions and the memory plan of each entry. */
  readonly functions: readonly LoopFunction[];
  readonly plans: readonly { readonly schedule: Schedule; readonly arena: Arena }[];
}

/** What emission has to know of a variant. */
export const variantOf = (id: VariantId): Variant => ({
  simd: id.startsWith("relaxed") ? "relaxed" : "simd128",
  threads: id.endsWith("threads"),
  memory64: isWide(id),
});

/** The variant that differs in the width of its addresses alone. */
const widened = (id: VariantId): VariantId => variantIds.find((v) => v !== id && v.replace("-64", "") === id) ?? id;

/** What 32-bit addresses reach. */
const memory32 = mostPages * pageBytes;

const align = (n: number) => Math.ceil(n / alignment) * alignment;

const tableOffset = controlBytes;

function basesFor(slots: number, placed: PlacedWeights, preparedBytes: number): Bases {
  const weights = align(tableOffset + 4 * slots);
  const state = align(weights + placed.weightsBytes);
  const prepared = align(state + placed.stateBytes);
  return { weights, state, prepared, arena: align(prepared + preparedBytes) };
}

/** What the manifest says of the ONNX template. */
function placedTemplate(
  onnx: OnnxTemplate | { readonly problems: string } | undefined,
  { templateOffset, state }: PlacedWeights,
  bases: Bases,
): { readonly onnx?: OnnxInfo } {
  if (!onnx) return {};
  if ("problems" in onnx) return { onnx };
  const indices = new Map(state.map((s, i) => [s.name, i]));
  return {
    onnx: {
      offset: bases.weights + templateOffset!,
      bytes: onnx.bytes.length,
      states: onnx.states.map((name) => indices.get(name)!),
    },
  };
}

interface Entry {
  readonly schedule: Schedule;
  readonly placement: Placement;
  readonly slots: Slots;
}

interface EmittedEntry {
  readonly functions: readonly LoopFunction[];
  readonly info: EntryInfo;
  /** Bytes of memory at the least dims. */
  readonly leastBytes: number;
}

export function assemble(lowered: readonly Schedule[], program: Program, options: AssembleOptions): Assembled {
  const contents = new Contents();
  const constantBytes = lowered.flatMap(allBuffers).reduce((n, b) => n + weightBytes(b), 0);
  const policy = { policy: options.weights ?? "auto", weightBytes: constantBytes };
  const prepared = prepare(lowered, weightStates(program), contents, policy);
  const preparedPlaces = placeTensors(prepared.bytes, alignment);
  const planned = prepared.schedules.map((s) => {
    const schedule = placeStateResults(s);
    return { schedule, arena: planArena(schedule, options.maxThreads) };
  });
  const weightBuffers = planned.flatMap(({ schedule }) =>
    allBuffers(schedule).filter((b) => b.source.kind === "weight"),
  );
  const { template } = options;
  const weights = placeWeights(
    weightBuffers,
    program.state,
    contents,
    template && "bytes" in template ? template.bytes : undefined,
  );
  const kernels = new KernelSet(options.optimizeKernel);
  for (const { schedule } of planned) addKernels(schedule.steps, kernels);

  const entries = planned.map(({ schedule, arena }): Entry => {
    const placement = new Placement(placeFixed(schedule, weights, preparedPlaces.offsets), arena);
    return { schedule, placement, slots: collectSlots(schedule, placement) };
  });
  const layOut = (wide: boolean) => {
    const slots = entries.reduce((n, e) => n + slotWords(wide) * e.slots.values.length, 0);
    const bases = basesFor(slots, weights, preparedPlaces.bytes);
    let firstSlot = 0;
    const emitted = entries.map((entry) => {
      const table = new EntryTable(entry.slots, { offset: tableOffset, firstSlot, bases, wide });
      firstSlot += slotWords(wide) * entry.slots.values.length;
      return emitEntry(entry, table, options.maxMemoryBytes);
    });
    return { slots, bases, emitted };
  };
  const asked = options.variants.some(isWide);
  const usual = layOut(asked);
  const needs64 = usual.emitted.some(({ info }) => (info.maxBytes ?? options.maxMemoryBytes) > memory32);
  const { slots, bases, emitted } = needs64 && !asked ? layOut(true) : usual;
  const fits32 = emitted.every((e) => e.leastBytes <= memory32);
  const narrow = fits32 ? options.variants : [];
  const variants = new Set([...narrow, ...(needs64 ? options.variants.map(widened) : [])]);

  const largest = emitted.map((e) => e.info.maxBytes);
  const bound = largest.includes(null) ? options.maxMemoryBytes : Math.max(bases.arena, ...(largest as number[]));
  if (bases.arena > options.maxMemoryBytes || (!largest.includes(null) && bound > options.maxMemoryBytes)) {
    throw new ModelError({
      message: `a run needs up to ${bound} bytes of memory, the limit is ${options.maxMemoryBytes}`,
      hint: "narrow the ranges of the dims, or raise maxMemoryBytes (at most 16 GiB; beyond 4 GiB the variants have 64-bit addresses)",
    });
  }
  const minPages = Math.max(1, Math.ceil(bases.arena / pageBytes));
  const maxPages = Math.max(minPages, Math.ceil(bound / pageBytes));
  const functions = [...kernels.functions, ...emitted.flatMap((e) => e.functions)];
  const exports = entries.flatMap(({ schedule }) => [`plan_${schedule.name}`, `run_${schedule.name}`]);
  const wasm: { [id in VariantId]?: Uint8Array } = {};
  for (const id of variants) {
    const variant = variantOf(id);
    const maximumPages = isWide(id) ? maxPages : Math.min(maxPages, mostPages);
    const memory = { shared: variant.threads, initialPages: minPages, maximumPages };
    wasm[id] = emitModule({ functions, exports, memory, variant }).bytes;
  }
  const draft: ManifestDraft = {
    producer: options.producer,
    name: options.name,
    memory: {
      tableOffset,
      tableSlots: slots,
      weightsOffset: bases.weights,
      weightsBytes: weights.weightsBytes,
      stateOffset: bases.state,
      stateBytes: weights.stateBytes,
      preparedOffset: bases.prepared,
      preparedFlags: prepared.changing,
      arenaOffset: bases.arena,
      minPages,
      maxPages,
      maxThreads: options.maxThreads,
    },
    state: weights.state.map((s) => ({ ...s, offset: s.offset + bases.state })),
    entries: Object.fromEntries(
      emitted.map(({ info }, i) => {
        const { name } = entries[i]!.schedule;
        const fixedInputs = program.entries[name]?.fixedInputs;
        return [name, fixedInputs ? { ...info, fixedInputs } : info];
      }),
    ),
    training: program.training ? { ...program.training, ...placedTemplate(template, weights, bases) } : null,
    sources: program.sources ?? [],
    ...(program.specialization
      ? { specialization: { ...program.specialization, relations: relationsOf(lowered) } }
      : {}),
  };
  return { draft, wasm, weights: weights.file, functions, plans: planned };
}

const relationsOf = (schedules: readonly Schedule[]): readonly SizeRelation[] =>
  schedules.flatMap((s) => s.requirements.map(({ value, must }) => ({ value: dimText(value), must })));

function addKernels(steps: readonly Step[], kernels: KernelSet): void {
  forEachStep(steps, (s) => {
    if (s.kind === "kernel") kernels.add(s.fn, s.helpers);
  });
}

const weightBytes = ({ source }: Buffer): number => (source.kind === "weight" ? storedBytes(source.value) : 0);

/** Where the weights of a schedule, the state, and what is prepared of them lie. */
function placeFixed(
  schedule: Schedule,
  weights: PlacedWeights,
  prepared: readonly number[],
): ReadonlyMap<Buffer, Place> {
  const fixed = new Map<Buffer, Place>();
  const stateOffsets = new Map(weights.state.map((s) => [s.name, s.offset]));
  for (const b of allBuffers(schedule)) {
    if (b.source.kind === "weight") fixed.set(b, { region: "weights", offset: weights.offsets.get(b)! });
    if (b.source.kind === "prepared") fixed.set(b, { region: "prepared", offset: prepared[b.source.index]! });
    if (b.source.kind === "state") {
      const offset = stateOffsets.get(b.source.name);
      if (offset === undefined) throw new InternalError(`no state is called ${b.source.name}`);
      fixed.set(b, { region: "state", offset });
    }
  }
  return fixed;
}

function emitEntry({ schedule, placement }: Entry, table: EntryTable, maxMemoryBytes: number): EmittedEntry {
  const emitter = new EntryEmitter(schedule, placement, table);
  const tensors = (list: readonly ScheduledInput[]): TensorInfo[] =>
    list.map(({ name, view, dtype, shape }) => ({
      name,
      dtype: dtype as TensorInfo["dtype"],
      shape: shape.map((d): ManifestDim => (typeof d === "number" ? d : { dim: dimText(d), slot: table.slot(d) })),
      offset: table.numberOrSlot(placement.address(view)),
    }));
  const functions = [...emitter.run(), planFunction(schedule, placement, table)];
  const outputs = tensors(schedule.outputs);
  const guard = outputs.find((o) => o.name === gradientGuard);
  const info: EntryInfo = {
    dims: dimsOf(schedule, table),
    inputs: tensors(schedule.inputs),
    outputs: outputs.filter((o) => o.name !== gradientGuard),
    ...(guard ? { guard } : {}),
    steps: schedule.steps.map(stepInfo),
    mutatesFrom: firstMutation(schedule),
    maxBytes: largestRun(placement, table, maxMemoryBytes),
    limits: limitsOf(schedule, table),
    ...(schedule.counted.length > 0 ? { counts: true } : {}),
  };
  return { functions, info, leastBytes: dimBounds(table.placed(placement.end)).min };
}

function limitsOf(schedule: Schedule, table: EntryTable): LimitInfo[] {
  const found = new Map<string, LimitInfo>();
  for (const limit of [...schedule.requirements.map((r) => r.limit), ...limitsIn(schedule.steps)]) {
    const { symbol, where, message, hint } = limit;
    found.set(symbol, { slot: table.slot(limitDim(limit)), where, message, hint });
  }
  return [...found.values()];
}

/** The named sizes that feeds bind, in order of the inputs. */
function dimsOf(schedule: Schedule, table: EntryTable): DimInfo[] {
  const found = new Map<string, DimInfo>();
  const counted = new Set(schedule.counted.map((c) => c.symbol.name));
  for (const input of schedule.inputs) {
    for (const d of input.shape) {
      for (const s of dimSymbols(d).values()) {
        if (found.has(s.name) || counted.has(s.name)) continue;
        found.set(s.name, {
          name: s.name,
          min: s.min,
          max: Number.isFinite(s.max) ? s.max : null,
          slot: table.slot(symbolDim(s)),
        });
      }
    }
  }
  return [...found.values()];
}

/** Whether what a run writes there is seen by the next one, even if it did not come to its end. */
const isChangedAtOnce = ({ source }: Buffer): boolean => source.kind === "state" && !source.isCache;

/** The first step that writes state, or the number of steps. */
function firstMutation({ steps }: Schedule): number {
  const first = steps.findIndex((step) => {
    let mutates = false;
    forEachStep([step], (s) => {
      mutates ||= usesOf(s).some(({ access, view: { buffer } }) => access !== "read" && isChangedAtOnce(buffer));
    });
    return mutates;
  });
  return first < 0 ? steps.length : first;
}

function stepInfo(s: Step): StepInfo {
  return { name: s.loc ?? "", kernel: s.kind === "kernel" ? s.fn.name : s.kind };
}

/** Bytes of memory at the largest dims; null where there is no bound, or sizes that data decide could pass the limit. */
function largestRun({ arena, end }: Placement, table: EntryTable, limit: number): number | null {
  const placed = largestValue(table.placed(end));
  if (placed === null || placed > limit || arena.stages.length === 0) return placed;
  const most = arena.stages.reduce((n, s) => n + (largestValue(s.bytes) ?? Infinity), placed);
  return most <= limit ? most : null;
}

function largestValue(total: Dim): number | null {
  if (typeof total === "number") return total;
  const { max } = dimBounds(total);
  return Number.isFinite(max) ? max : null;
}
