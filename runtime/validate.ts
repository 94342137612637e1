/** Checks that a parsed manifest is what `format.ts` says, down to what memory safety and clear errors rest on. */
import { corrupted, describe, modelError } from "./errors.js";
import {
  alignment,
  control,
  dtypeBytes,
  formatVersion,
  type Manifest,
  pageBytes,
  type StateRole,
  variantIds,
} from "./format.js";

type Check<T> = (value: unknown, path: string) => T;

const fail = (path: string, expected: string, value: unknown): never => {
  throw corrupted(`manifest${path}: expected ${expected}, got ${describe(value)}`);
};
const int =
  (min = 0, max: number = Number.MAX_SAFE_INTEGER): Check<number> =>
  (v, path) =>
    Number.isSafeInteger(v) && (v as number) >= min && (v as number) <= max
      ? (v as number)
      : fail(path, `an integer in [${min}, ${max}]`, v);
const text: Check<string> = (v, path) => (typeof v === "string" ? v : fail(path, "a string", v));
const bool: Check<boolean> = (v, path) => (typeof v === "boolean" ? v : fail(path, "true or false", v));
const oneOf =
  <T extends string>(values: readonly T[]): Check<T> =>
  (v, path) =>
    values.includes(v as T) ? (v as T) : fail(path, `one of ${values.join(", ")}`, v);
const match =
  (pattern: RegExp, what: string): Check<string> =>
  (v, path) =>
    typeof v === "string" && pattern.test(v) ? v : fail(path, what, v);
const orNull =
  <T>(check: Check<T>): Check<T | null> =>
  (v, path) =>
    v === null ? null : check(v, path);
const list =
  <T>(check: Check<T>): Check<readonly T[]> =>
  (v, path) =>
    Array.isArray(v) ? v.map((item, i) => check(item, `${path}[${i}]`)) : fail(path, "an array", v);
const object = (v: unknown, path: string): Record<string, unknown> =>
  typeof v === "object" && v !== null && !Array.isArray(v)
    ? (v as Record<string, unknown>)
    : fail(path, "an object", v);
/** Every field checked, others dropped. */
const record =
  <T>(fields: { [K in keyof T]: Check<T[K]> }): Check<T> =>
  (v, path) => {
    const from = object(v, path);
    const to = {} as T;
    for (const key in fields) to[key] = fields[key](from[key], `${path}.${key}`);
    return to;
  };
const dictionary =
  <T>(key: Check<string>, check: Check<T>): Check<Readonly<Record<string, T>>> =>
  (v, path) =>
    Object.fromEntries(Object.entries(object(v, path)).map(([k, item]) => [key(k, path), check(item, `${path}.${k}`)]));

const u32 = int(0, 2 ** 32);
const i32 = int(0, 2 ** 31 - 1);
const hash = match(/^[0-9a-f]{64}$/, "a SHA-256 in hex");
/** No separators: a manifest can't point outside its own folder. */
const fileName = match(/^[^/\\:\0]+$/, "a plain file name");
const identifier = match(/^[A-Za-z_][A-Za-z0-9_]*$/, "an identifier");
const dtype = oneOf(Object.keys(dtypeBytes) as (keyof typeof dtypeBytes)[]);
const roles = ["param", "optimizer", "buffer", "rng", "counter", "hyper"] as const satisfies readonly StateRole[];
const symbolic = record({ dim: text, slot: u32 });
const tensor = record({
  name: text,
  dtype,
  shape: list((v, path) => (typeof v === "number" ? i32(v, path) : symbolic(v, path))),
  offset: (v: unknown, path: string) => (typeof v === "number" ? u32(v, path) : record({ slot: u32 })(v, path)),
});
const option: Check<number | boolean | string> = (v, path) =>
  typeof v === "number" || typeof v === "boolean" ? v : text(v, path);

const manifest: Check<Manifest> = record({
  format: int(),
  producer: text,
  name: text,
  variants: list(record({ id: oneOf(variantIds), file: fileName, hash })),
  weights: record({ file: fileName, bytes: int(), hash, sources: list(text) }),
  memory: record({
    tableOffset: u32,
    tableSlots: u32,
    weightsOffset: u32,
    weightsBytes: u32,
    stateOffset: u32,
    stateBytes: u32,
    arenaOffset: u32,
    minPages: int(1, pageBytes),
    maxPages: int(1, pageBytes),
  }),
  state: list(record({ name: text, dtype, shape: list(i32), role: oneOf(roles), offset: u32, init: orNull(int()) })),
  entries: dictionary(
    identifier,
    record({
      dims: list(record({ name: text, min: i32, max: orNull(i32), slot: u32 })),
      inputs: list(tensor),
      outputs: list(tensor),
      steps: list(record({ name: text, kernel: text })),
      mutatesState: bool,
      maxBytes: orNull(int()),
    }),
  ),
  training: orNull(
    record({
      step: text,
      evaluate: orNull(text),
      predict: orNull(text),
      loss: text,
      metrics: list(text),
      batch: orNull(text),
      optimizer: record({ name: text, options: dictionary(text, option) }),
      learningRate: orNull(text),
      stepCounter: orNull(text),
      rng: orNull(text),
    }),
  ),
});

/** @throws ModelError when the value is not a manifest of a version that this runtime reads. */
export function validateManifest(value: unknown): Manifest {
  const format = int()(object(value, "").format, ".format");
  if (format !== formatVersion) {
    const what = format > formatVersion ? "use a newer wasmith runtime" : "compile the model again";
    throw modelError("artefact", `format version ${format}, this runtime reads version ${formatVersion}`, what);
  }
  const m = manifest(value, "");
  checkLayout(m);
  checkNames(m);
  return m;
}

function checkLayout(m: Manifest): void {
  const { tableOffset, tableSlots, weightsOffset, weightsBytes, stateOffset, stateBytes, arenaOffset, minPages } =
    m.memory;
  const ends = [control.bytes, tableOffset + tableSlots * 4, weightsOffset + weightsBytes, stateOffset + stateBytes];
  [tableOffset, weightsOffset, stateOffset, arenaOffset].forEach((start, i) => {
    if (start < ends[i]! || start % alignment) {
      throw corrupted(
        `manifest.memory: region ${i} at ${start} overlaps the one before or is not a multiple of ${alignment}`,
      );
    }
  });
  if (minPages * pageBytes < arenaOffset || m.memory.maxPages < minPages) {
    throw corrupted("manifest.memory: the page limits do not hold the regions");
  }
  if (m.variants.length === 0) throw corrupted("manifest.variants: empty");
  for (const s of m.state) {
    const bytes = s.shape.reduce((n, d) => n * d, dtypeBytes[s.dtype]);
    const outside = s.offset < stateOffset || s.offset + bytes > stateOffset + stateBytes || s.offset % 8 !== 0;
    if (outside || (s.init !== null && s.init + bytes > m.weights.bytes)) {
      throw corrupted(`manifest.state: "${s.name}" lies outside its region`);
    }
  }
  const slots = Object.values(m.entries).flatMap((e) => [
    ...e.dims.map((d) => d.slot),
    ...[...e.inputs, ...e.outputs].flatMap((t) =>
      [t.offset, ...t.shape].map((x) => (typeof x === "number" ? 0 : x.slot)),
    ),
  ]);
  if (slots.some((slot) => slot >= Math.max(1, tableSlots)))
    throw corrupted("manifest.entries: a slot lies outside the table");
}

function checkNames(m: Manifest): void {
  const distinct = (what: string, items: readonly { readonly name?: string; readonly id?: string }[]): void => {
    const names = items.map((i) => i.name ?? i.id);
    const twice = names.find((n, i) => names.indexOf(n) !== i);
    if (twice !== undefined) throw corrupted(`manifest.${what}: "${twice}" occurs twice`);
  };
  distinct("variants", m.variants);
  if (new Set(m.state.map((s) => s.name)).size !== m.state.length)
    throw corrupted("manifest.state: a name occurs twice");
  for (const [name, e] of Object.entries(m.entries)) {
    distinct(`${name}.dims`, e.dims);
    distinct(`${name}.inputs`, e.inputs);
    distinct(`${name}.outputs`, e.outputs);
  }
  const t = m.training;
  if (!t) return;
  for (const name of [t.step, t.evaluate, t.predict]) {
    if (name !== null && !Object.hasOwn(m.entries, name)) throw corrupted(`manifest.training: no entry "${name}"`);
  }
  for (const name of [t.learningRate, t.stepCounter, t.rng]) {
    if (name !== null && !m.state.some((s) => s.name === name))
      throw corrupted(`manifest.training: no state "${name}"`);
  }
  const outputs = m.entries[t.step]!.outputs;
  for (const name of [t.loss, ...t.metrics]) {
    if (!outputs.some((o) => o.name === name)) throw corrupted(`manifest.training: step has no output "${name}"`);
  }
}
