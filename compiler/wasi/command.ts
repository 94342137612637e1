/** An artefact as a command of WASI: reads its inputs as a safetensors file from standard input, writes its outputs as one to standard output. */
import { InternalError, ModelError, type Problem } from "../../ir/errors.js";
import type { Expr, LoopFunction, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import { parseLoopModule } from "../../ir/loop-parse.js";
import { flatMapStmts, mapStmt, visitExprs, visitStmts } from "../../ir/loop-walk.js";
import { type ArtifactParts, type EntryInfo, isWide, mostPages, type VariantId } from "../../runtime/format.js";
import { dataStart } from "../../runtime/safetensors.js";
import { byteSize } from "../../runtime/tensor.js";
import type { Assembled } from "../assemble.js";
import { emitModule } from "../wasm/emit.js";
import { CommandEntry } from "./entry.js";
import { linkCommand, type Segment } from "./link.js";
import { readerText } from "./reader.js";
import { mostAxes } from "./scratch.js";

const start = "_start";

/** `plan_E`, whose result is a number here: addresses have 32 bits. */
function withNumber(plan: LoopFunction): LoopFunction {
  const numberOf = (e: Expr): Expr => {
    if (e.kind === "const") return b.i32(Number(e.value));
    if (e.kind === "convert" && e.op === "ptr.from_f64U") return b.convert("i32.from_f64U", e.x);
    throw new InternalError(`@${plan.name} returns a ${e.kind}`);
  };
  const numbers = (body: readonly Stmt[]): readonly Stmt[] =>
    flatMapStmts(body, (s) =>
      s.kind === "return" && s.value ? { kind: "return", value: numberOf(s.value) } : mapStmt(s, (e) => e, numbers),
    );
  return { ...plan, result: "i32", body: numbers(plan.body) };
}

/** The functions that are called from one on. */
function calledFrom(name: string, functions: readonly LoopFunction[]): LoopFunction[] {
  const known = new Map(functions.map((f) => [f.name, f]));
  const found = new Map<string, LoopFunction>();
  const add = (called: string): void => {
    const f = known.get(called);
    if (!f || found.has(called)) return;
    found.set(called, f);
    visitStmts(f.body, (s) => {
      if (s.kind === "call") add(s.fn);
    });
    visitExprs(f.body, (e) => {
      if (e.kind === "call") add(e.fn);
    });
  };
  add(name);
  return functions.filter((f) => found.has(f.name));
}

/** What keeps an entry from being a command. */
function problemsOf(name: string, { inputs, dims }: EntryInfo): Problem[] {
  const shown = new Set(inputs.flatMap((t) => t.shape.map((d) => (typeof d === "number" ? "" : d.dim))));
  const where = `entry "${name}"`;
  const hidden = dims
    .filter((d) => !shown.has(d.name))
    .map(
      (d): Problem => ({
        where,
        message: `no input shows the size "${d.name}"`,
        hint: `give it one: --dim ${d.name}=…`,
      }),
    );
  const deep = inputs
    .filter((t) => t.shape.length > mostAxes)
    .map((t): Problem => ({ where, message: `input "${t.name}" has more than ${mostAxes} axes` }));
  return [...hidden, ...deep];
}

/** Weights and first values of state, where they lie in memory. */
function segmentsOf({ manifest: { memory, state }, weights }: ArtifactParts): Segment[] {
  const data = weights.subarray(dataStart(weights));
  const first = { address: memory.weightsOffset, bytes: data.subarray(0, memory.weightsBytes) };
  const values = state.flatMap((s) =>
    s.init === null ? [] : [{ address: s.offset, bytes: data.subarray(s.init, s.init + byteSize(s.dtype, s.shape)) }],
  );
  return [first, ...values];
}

/**
 * The command of the entry that `run` runs by default, on one thread: one module without wasmith's sections, for any host of WASI preview 1
 * that has SIMD. Exit codes: 0; 1 with what is wrong on standard error; 2 where nobody reads what it writes. State is as it was compiled.
 *
 * @throws ModelError where a size can't be told from the inputs, or memory needs 64-bit addresses
 */
export function wasiCommand(
  parts: ArtifactParts,
  { functions, wasm }: Pick<Assembled, "functions" | "wasm">,
): Uint8Array {
  const { manifest } = parts;
  const { fit } = manifest.training ?? {};
  const name = fit?.predict ?? Object.keys(manifest.entries)[0]!;
  const entry = manifest.entries[name]!;
  const problems = problemsOf(name, entry);
  const ids = (Object.keys(wasm) as VariantId[]).filter((id) => !isWide(id));
  if (ids.length === 0)
    problems.push({ message: "a command can't have 64-bit addresses", hint: "compile for smaller sizes" });
  if (problems.length > 0) throw new ModelError(problems);
  const relaxed = ids.every((id) => id.startsWith("relaxed"));
  const command = new CommandEntry(name, entry, manifest);
  const text = readerText(command.textAt, entry.inputs.length) + command.functions();
  const own = functions.map((f) => (f.name === `plan_${name}` ? withNumber(f) : f));
  const all = [...own, ...parseLoopModule(text, "command").functions];
  const { minPages } = manifest.memory;
  const { bytes } = emitModule({
    functions: calledFrom(start, all),
    exports: [start],
    memory: { shared: false, initialPages: minPages, maximumPages: mostPages },
    variant: { simd: relaxed ? "relaxed" : "simd128", threads: false },
    host: "wasi",
    names: false,
  });
  return linkCommand(bytes, segmentsOf(parts));
}
