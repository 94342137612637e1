/** What measuring found: which kernels and tiles compute the nodes of a model fastest. A JSON document, stored beside the artefact. */

import { describe } from "../../ir/describe.js";
import { ModelError, type Problem } from "../../ir/errors.js";
import type { Candidate, Tuner } from "../lower/core/tuner.js";

export const tuningFormat = "wasmith tuning";
export const tuningVersion = 1;

/** A kernel that is faster for nodes of a kind than what is taken without tuning. */
export interface TunedChoice extends Candidate {
  /** The kind of nodes: op, types, attributes. */
  readonly kind: string;
  /** Milliseconds that all nodes of the kind took in a run, and what they took without tuning. */
  readonly ms: number;
  readonly untunedMs: number;
}

export interface Tuning {
  readonly format: typeof tuningFormat;
  readonly version: typeof tuningVersion;
  /** Where it was measured, for people: the choices may be slower elsewhere, but are right everywhere. */
  readonly measured: {
    readonly engine: string;
    readonly variant: string;
    readonly threads: number;
    /** Sizes of dims that the model leaves open. */
    readonly dims: Readonly<Record<string, number>>;
  };
  /** One of each kind. What is not among them is computed as without tuning. */
  readonly choices: readonly TunedChoice[];
}

type Fields = Readonly<Record<string, unknown>>;

const isRecord = (v: unknown): v is Fields => typeof v === "object" && v !== null && !Array.isArray(v);
const isText = (v: unknown): v is string => typeof v === "string" && v !== "";
const isTime = (v: unknown): v is number => typeof v === "number" && v >= 0 && Number.isFinite(v);
const isSize = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) >= 1;

const isShape = (v: unknown): boolean => isRecord(v) && isSize(v.mr) && isSize(v.nr);
const isTile = (v: unknown): boolean =>
  isShape(v) && ((v as Fields).fused === undefined || isShape((v as Fields).fused));

/** What a field must be, and whether it is. */
type FieldCheck = readonly [expected: string, fits: (value: unknown) => boolean];

const choiceFields: Readonly<Record<keyof TunedChoice, FieldCheck>> = {
  kind: ["the kind of a node", isText],
  kernel: ["the name of a kernel such as conv/direct", isText],
  tile: [
    "a tile { mr, nr } of whole numbers, with another as fused if it has one",
    (v) => v === undefined || isTile(v),
  ],
  ms: ["milliseconds", isTime],
  untunedMs: ["milliseconds", isTime],
};

const measuredFields: Readonly<Record<keyof Tuning["measured"], FieldCheck>> = {
  engine: ["a string", isText],
  variant: ["a string", isText],
  threads: ["a whole number of at least 1", isSize],
  dims: ["an object of sizes", (v) => isRecord(v) && Object.values(v).every(isSize)],
};

function fieldProblems(
  where: string,
  value: unknown,
  fields: Readonly<Record<string, FieldCheck>>,
): readonly Problem[] {
  if (!isRecord(value)) return [{ where, message: `expected an object, got ${describe(value)}` }];
  return Object.entries(fields).flatMap(([name, [expected, fits]]) =>
    fits(value[name])
      ? []
      : [{ where: `${where}.${name}`, message: `expected ${expected}, got ${describe(value[name])}` }],
  );
}

/**
 * The document, checked. Whether a model has nodes of its kinds, and kernels of its names serve them, is seen when it is compiled.
 * @param where what the errors name: a file, or an option
 * @throws ModelError saying what is no tuning, of another version, or not what it is to be
 */
export function readTuning(value: unknown, where: string): Tuning {
  const hint = "make it anew: wasmith compile --tune, or tune()";
  if (!isRecord(value) || value.format !== tuningFormat)
    throw new ModelError({ where, message: `expected a tuning as tune() gives it, got ${describe(value)}`, hint });
  if (value.version !== tuningVersion)
    throw new ModelError({
      where,
      message: `it has version ${describe(value.version)} of the format, this wasmith reads version ${tuningVersion}`,
      hint,
    });
  const { choices } = value;
  const problems = [
    ...fieldProblems("measured", value.measured, measuredFields),
    ...(Array.isArray(choices)
      ? choices.flatMap((c, i) => fieldProblems(`choices[${i}]`, c, choiceFields))
      : [{ where: "choices", message: `expected a list, got ${describe(choices)}` }]),
  ];
  if (problems.length > 0) throw new ModelError(problems.map((p) => ({ hint, ...p, where: `${where}: ${p.where}` })));
  const tuning = value as unknown as Tuning;
  const kinds = tuning.choices.map((c) => c.kind);
  const twice = kinds.find((k, i) => kinds.indexOf(k) < i);
  if (twice !== undefined) throw new ModelError({ where, message: `it has two choices for ${twice}`, hint });
  return tuning;
}

const sameTile = (a: Candidate["tile"], b: Candidate["tile"]): boolean =>
  a?.mr === b?.mr && a?.nr === b?.nr && a?.fused?.mr === b?.fused?.mr && a?.fused?.nr === b?.fused?.nr;

/** Where the candidate stands among others, or −1. */
export const candidateIndex = (among: readonly Candidate[], { kernel, tile }: Candidate): number =>
  among.findIndex((c) => c.kernel === kernel && sameTile(c.tile, tile));

/** The candidate alone, of what is more than it. */
export const candidateOf = ({ kernel, tile }: Candidate): Candidate => (tile ? { kernel, tile } : { kernel });

/** `conv/direct 4x8`, `dotGeneral/gemm 4x8, fused 6x8`. */
export function candidateText({ kernel, tile }: Candidate): string {
  if (tile === undefined) return kernel;
  const fused = tile.fused ? `, fused ${tile.fused.mr}x${tile.fused.nr}` : "";
  return `${kernel} ${tile.mr}x${tile.nr}${fused}`;
}

/** @param warn is told once of each choice that no kernel of this version serves: it is left out */
export function tunerOf(tuning: Tuning, warn: (text: string) => void): Tuner {
  const choices = new Map(tuning.choices.map((c) => [c.kind, c]));
  const told = new Set<string>();
  return {
    choose(kind, candidates) {
      const choice = choices.get(kind);
      if (choice === undefined) return 0;
      const index = candidateIndex(candidates, choice);
      if (index < 0 && !told.has(kind)) {
        told.add(kind);
        warn(`the tuning's ${candidateText(choice)} does not serve ${kind}: ${candidateText(candidates[0]!)} is taken`);
      }
      return Math.max(0, index);
    },
  };
}
