/** Checks that a parsed manifest is what `format.ts` says, down to what memory safety and clear errors rest on. */
import { Complaint } from "./complaint.js";
import { corrupted, describe, modelError } from "./errors.js";
import {
  alignment,
  arrayTypes,
  controlBytes,
  formatVersion,
  type Manifest,
  mostPages64,
  pageBytes,
  variantIds,
} from "./format.js";
import { byteSize } from "./tensor.js";

/** A leaf's name, with `?` where null may stand; [S]: a list; { "*": S }: a dictionary; else an object with these fields; or what fits the value. */
type Schema = string | readonly [Schema] | { readonly [field: string]: Schema } | ((value: unknown) => Schema);

const count = (max: number) => (v: unknown) => Number.isSafeInteger(v) && (v as number) >= 0 && (v as number) <= max;
const pattern = (regex: RegExp) => (v: unknown) => typeof v === "string" && regex.test(v);
const member = (values: readonly string[]) => (v: unknown) => values.includes(v as string);

const leaves: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: pattern(/^/),
  boolean: (v) => typeof v === "boolean",
  "31-bit size": count(2 ** 31 - 1),
  size: count(2 ** 53),
  identifier: pattern(/^[A-Za-z_]\w*$/),
  // No separators: a manifest can't point outside its own folder.
  "file name": pattern(/^[^/\\:\0\p{Cs}]+$/u),
  "SHA-256": pattern(/^[0-9a-f]{64}$/),
  dtype: member(Object.keys(arrayTypes)),
  variant: member(variantIds),
  role: member(["param", "optimizer", "buffer", "rng", "counter", "hyper", "metric", "cache"]),
  option: (v) => typeof v !== "object",
  // Of callers' options alone.
  any: () => true,
  count: (v) => leaves.size!(v) && v !== 0,
  seconds: (v) => typeof v === "number" && v > 0,
  seed: (v) => v === false || Number.isSafeInteger(v),
  list: Array.isArray,
  object: (v) => typeof v === "object" && v !== null,
  function: (v) => typeof v === "function",
  signal: (v) => typeof (v as AbortSignal | null)?.aborted === "boolean",
};

/** Which check of `leaves` each option must pass. */
export type OptionChecks<O> = { readonly [K in keyof O]-?: string };

/** @throws Complaint where an option is unknown or not what it is to be */
export function checkOptions<O extends object>(of: string, options: O, checks: OptionChecks<O>): void {
  const table = checks as Readonly<Record<string, string>>;
  const isRecord = leaves.object!(options) && !(Symbol.iterator in options);
  const wrong = Object.entries(options ?? {}).flatMap(([name, value]) =>
    Object.hasOwn(table, name) && (value === undefined || leaves[table[name]!]!(value)) ? [] : name,
  );
  if (wrong[0] !== undefined || !isRecord) throw new Complaint("options", [of, options, table, wrong]);
}

const slot = "size";
const sizeOrSlot = (v: unknown): Schema => (typeof v === "number" ? slot : { slot });
const dim = (v: unknown): Schema => (typeof v === "number" ? "31-bit size" : { dim: "string", slot });
const tensor: Schema = { name: "string", dtype: "dtype", shape: [dim], offset: sizeOrSlot };
const tensors: Schema = [tensor];
const fit: Schema = {
  step: "string",
  evaluate: "string?",
  predict: "string?",
  loss: "string",
  metrics: ["string"],
  streamed: (v) => (v === null ? "string?" : { entry: "string", metrics: ["string"] }),
  batch: "string?",
};
const training: Schema = {
  objectives: [
    {
      entry: "string",
      name: "string",
      optimizer: { name: "string", options: { "*": "option" } },
      learningRate: "string?",
      stepCounter: "string",
    },
  ],
  fit: (v) => (v === null ? "string?" : fit),
  rng: "string?",
};
const manifest: Schema = {
  producer: "string",
  name: "string",
  variants: [{ id: "variant", file: "file name", hash: "SHA-256" }],
  weights: { file: "file name", bytes: "size", hashes: ["SHA-256"], sources: ["string"] },
  memory: {
    tableOffset: slot,
    tableSlots: slot,
    weightsOffset: slot,
    weightsBytes: slot,
    stateOffset: slot,
    stateBytes: slot,
    preparedOffset: slot,
    preparedFlags: slot,
    arenaOffset: slot,
    minPages: slot,
    maxPages: slot,
    maxThreads: slot,
  },
  state: [{ name: "string", dtype: "dtype", shape: ["31-bit size"], role: "role", offset: slot, init: "size?" }],
  entries: {
    "*": {
      dims: [{ name: "string", min: "31-bit size", max: "31-bit size?", slot }],
      inputs: tensors,
      outputs: tensors,
      steps: [{ name: "string", kernel: "string" }],
      mutatesFrom: slot,
      maxBytes: "size?",
      limits: [{ slot, where: "string", message: "string", hint: "string" }],
      counts: (v) => (v === undefined ? "any" : "boolean"),
      guard: (v) => (v === undefined ? "any" : tensor),
    },
  },
  training: (v) => (v === null ? "string?" : training),
};

function check(schema: Schema, value: unknown, path: string): void {
  const expect = (ok: boolean, what: string): void => {
    if (!ok) throw corrupted(`manifest${path}: expected ${what}, got ${describe(value)}`);
  };
  if (typeof schema === "function") check(schema(value), value, path);
  else if (typeof schema === "string") {
    const leaf = schema.replace("?", "");
    expect((value === null && leaf !== schema) || leaves[leaf]!(value), leaf);
  } else if (Array.isArray(schema)) {
    expect(Array.isArray(value), "a list");
    (value as unknown[]).forEach((item, i) => {
      check(schema[0], item, `${path}[${i}]`);
    });
  } else {
    expect(typeof value === "object" && value !== null && !Array.isArray(value), "an object");
    const fields = schema as { readonly [field: string]: Schema };
    for (const key of Object.keys(fields["*"] ? (value as object) : fields)) {
      check(fields["*"] ?? fields[key]!, (value as Record<string, unknown>)[key], `${path}.${key}`);
    }
  }
}

/** @throws ModelError when the value is not a manifest of a version that this runtime reads. */
export function validateManifest(value: unknown): Manifest {
  check({ format: "size" }, value, "");
  const m = value as Manifest;
  if (m.format !== formatVersion) {
    const hint = m.format > formatVersion ? "use a newer wasmith runtime" : "compile the model again";
    throw modelError("artefact", `format version ${m.format}, this runtime reads version ${formatVersion}`, hint);
  }
  check(manifest, m, "");
  checkLayout(m);
  checkNames(m);
  return m;
}

function checkLayout({ memory, state, weights, entries }: Manifest): void {
  const { tableOffset, weightsOffset, stateOffset, stateBytes, preparedOffset, arenaOffset } = memory;
  const regions = [
    [tableOffset, memory.tableSlots * 4],
    [weightsOffset, memory.weightsBytes],
    [stateOffset, stateBytes],
    [preparedOffset, memory.preparedFlags],
    [arenaOffset, 0],
  ] as const;
  regions.forEach(([start], i) => {
    const [before, bytes] = regions[i - 1] ?? [0, controlBytes];
    if (start < before + bytes || start % alignment)
      throw corrupted(`manifest.memory: region ${i} can't start at ${start}`);
  });
  if (memory.minPages * pageBytes < arenaOffset || memory.maxPages < memory.minPages || memory.maxPages > mostPages64) {
    throw corrupted("manifest.memory: the page limits do not hold the regions");
  }
  for (const s of state) {
    const bytes = byteSize(s.dtype, s.shape);
    const outside = s.offset < stateOffset || s.offset + bytes > stateOffset + stateBytes || s.offset % 8 !== 0;
    if (outside || (s.init !== null && s.init + bytes > weights.bytes)) {
      throw corrupted(`manifest.state: "${s.name}" lies outside its region`);
    }
  }
  for (const { dims, inputs, outputs, guard } of Object.values(entries)) {
    const places = [...inputs, ...outputs, ...(guard ? [guard] : [])].flatMap((t) => [t.offset, ...t.shape]);
    for (const place of [...dims, ...places]) {
      if (typeof place !== "number" && place.slot >= memory.tableSlots)
        throw corrupted(`manifest: no slot ${place.slot}`);
    }
  }
}

function checkNames({ entries, state, training: t, variants }: Manifest): void {
  const distinct = (where: string, names: readonly string[]): void => {
    if (new Set(names).size !== names.length) throw corrupted(`manifest.${where}: a name occurs twice`);
  };
  const within = (names: readonly string[], wanted: readonly (string | null)[]): void => {
    for (const name of wanted)
      if (name !== null && !names.includes(name)) throw corrupted(`manifest.training: no "${name}"`);
  };
  const named = (items: readonly { readonly name: string }[]): string[] => items.map((i) => i.name);
  if (!variants.length || !Object.keys(entries).length) throw corrupted("manifest: no variant or no entry");
  distinct(
    "variants",
    variants.map((v) => v.id),
  );
  distinct("state", named(state));
  for (const [name, { dims, inputs, outputs }] of Object.entries(entries)) {
    check("identifier", name, ".entries");
    for (const items of [dims, inputs, outputs]) distinct(name, named(items));
  }
  if (!t) return;
  within(named(state), [t.rng, ...t.objectives.flatMap((o) => [o.learningRate, o.stepCounter])]);
  within(
    Object.keys(entries),
    t.objectives.map((o) => o.entry),
  );
  if (!t.fit) return;
  const { step, evaluate, predict, loss, metrics, streamed } = t.fit;
  within(Object.keys(entries), [step, evaluate, predict, streamed?.entry ?? null]);
  within(named(entries[step]!.outputs), [loss, ...metrics]);
  if (evaluate !== null) within(named(entries[evaluate]!.outputs), [loss]);
  if (streamed) within(named(entries[streamed.entry]!.outputs), streamed.metrics);
}
