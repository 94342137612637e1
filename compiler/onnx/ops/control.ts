/** If, Loop and Scan. Conditions and trip counts that are known decide at compile time. */
import { asType, concatenate, full, moveAxis, reshapeTo, stack } from "../../../ir/build.js";
import { type Dim, type DimExpr, dimEqual, dimMax, dimMul, dimSub } from "../../../ir/dim.js";
import { dimUpperBound } from "../../../ir/dim-upper.js";
import { param, type Shape, typeText, type Value } from "../../../ir/graph.js";
import { iota, scalarConstant } from "../../../ir/ops/constant.js";
import { ifElse, loop, scan } from "../../../ir/ops/control.js";
import { closeRegion, type TracedRegion, unionOfCaptures } from "../../../ir/regions.js";
import { constantOf, dimOf, factOf } from "../../../passes/values/index.js";
import { capturedNames, subgraphsOf } from "../check.js";
import { type Bound, type ImportOp, isValue, type NodeContext, type OpRow } from "../context.js";
import type { OnnxGraph, OnnxNode } from "../model.js";
import { failed, rebuild, type Shell, trace } from "./region.js";
import { resizedLoop, roomFor, tripCountOf } from "./resized-loop.js";
import { scanRow } from "./scan.js";

/** Bodies are repeated in place up to this many times, where a loop can't be a loop of the IR. */
const MAX_UNROLL = 256;

// ------------------------------------------------------------------------------------------------------- if

/** One shape for both branches; sizes that differ are found when the program runs. */
function mergeBranches(c: NodeContext, a: Shape, b: Shape, defines: DimExpr[]): Shape {
  if (a.length !== b.length)
    throw c.dependsOnData(0, `the condition, which chooses between ${a.length} and ${b.length} axes,`);
  return a.map((d, i) => {
    const e = b[i]!;
    if (dimEqual(d, e)) return d;
    const size = c.services.newSize("branch", dimMax(dimUpperBound(d), dimUpperBound(e)));
    defines.push(size);
    return size;
  });
}

/** The equality of two sizes that decides a condition, as their difference, where nothing decides it when compiling. */
function undecidedEquality({ def }: Value): Dim | undefined {
  if (def.op === "cast" || def.op === "reshape" || def.op === "slice") return undecidedEquality(def.operands[0]!);
  if (def.op !== "eq") return undefined;
  const [a, b] = def.operands.map((v) => dimOf(factOf(v)));
  return a === undefined || b === undefined ? undefined : dimSub(a, b);
}

const ifRow: ImportOp = (c): readonly Bound[] => {
  const branches = [c.attrs.graph("then_branch"), c.attrs.graph("else_branch")] as const;
  const known = c.facts(0)?.[0]?.exact;
  if (typeof known === "number") return c.services.inline(known !== 0 ? branches[0] : branches[1], [], c.scope);
  const condition = reshapeTo(asType(c.input(0), "bool"), []);
  const [yes, no] = branches.map((g) =>
    c.services.underCondition(condition, () => trace(c, [], () => c.services.inline(g, [], c.scope))),
  );
  if (!yes || !no) return [];
  if (JSON.stringify(yes.shells.map(kindOf)) !== JSON.stringify(no.shells.map(kindOf)))
    throw c.error(
      "its branches give sequences of different length, or an optional in one of them only",
      undefined,
      c.services.needs.ofValue(c.input(0)),
    );
  const ranksDiffer = yes.region.results.some(
    (r, i) => r.type.shape.length !== no.region.results[i]!.type.shape.length,
  );
  // PyTorch's squeeze of an axis that may be 1: only sizes with which it is 1 make a program.
  const equality = ranksDiffer ? undecidedEquality(condition) : undefined;
  if (equality !== undefined) {
    if (c.services.inBranch) {
      // Other branches may allow other sizes, so this one checks its own when it runs.
      c.services.assumeZero(equality);
      return c.services.inline(branches[0], [], c.scope);
    }
    c.services.narrow(equality);
  }
  const defines: DimExpr[] = [];
  const shapes = yes.region.results.map((r, i) =>
    mergeBranches(c, r.type.shape, no.region.results[i]!.type.shape, defines),
  );
  const captures = unionOfCaptures(yes.region, no.region);
  const results = ifElse([condition, ...captures], defines.length > 0 ? { shapes, defines } : {}, [
    closeRegion("then", yes.region, captures),
    closeRegion("else", no.region, captures),
  ]);
  for (const size of defines) c.services.foundBy(size, results[0]!);
  const values = results.values();
  return yes.shells.map((s) => rebuild(s, values));
};

const kindOf = (s: Shell): unknown =>
  s.kind === "sequence" ? s.items.map(kindOf) : s.kind === "other" ? (s.bound as { kind: string }).kind : s.kind;

// ----------------------------------------------------------------------------------------------------- loop

interface Accumulator {
  /** Index among the carried values. */
  readonly at: number;
  /** Name, in the body, of what each iteration adds. */
  readonly item: string;
  /** Axis that tensors are joined along; undefined for a sequence. */
  readonly axis: number | undefined;
}

function uses(graph: OnnxGraph, name: string): number {
  let count = graph.outputs.filter((o) => o.name === name).length;
  for (const node of graph.nodes) {
    count += node.inputs.filter((n) => n === name).length;
    for (const sub of subgraphsOf(node)) if (capturedNames(sub).has(name)) count++;
  }
  return count;
}

/**
 * Carried values that each iteration only appends to (`out = Concat(out, item)`, `seq = SequenceInsert(seq, item)`), with the
 * body freed of them: they are scanned values.
 */
function takeAccumulators(body: OnnxGraph, carried: number): { body: OnnxGraph; found: readonly Accumulator[] } {
  const found: Accumulator[] = [];
  const dropped = new Set<OnnxNode>();
  for (let at = 0; at < carried; at++) {
    const formal = body.inputs[at + 2]?.name;
    const result = body.outputs[at + 1]?.name;
    if (formal === undefined || result === undefined || uses(body, formal) !== 1 || uses(body, result) !== 1) continue;
    const node = body.nodes.find((n) => n.outputs[0] === result);
    if (node?.domain !== "" || node.inputs[0] !== formal || node.inputs.length !== 2) continue;
    const axis = node.attributes.get("axis");
    if (node.opType === "SequenceInsert") found.push({ at, item: node.inputs[1]!, axis: undefined });
    else if (node.opType === "Concat" && axis?.kind === "int")
      found.push({ at, item: node.inputs[1]!, axis: Number(axis.value) });
    else continue;
    dropped.add(node);
  }
  const isAccumulated = (at: number) => found.some((f) => f.at === at);
  const outputs = [
    ...body.outputs.filter((_, i) => i === 0 || i > carried || !isAccumulated(i - 1)),
    ...found.map(({ item }) => ({ name: item, type: undefined })),
  ];
  const inputs = body.inputs.filter((_, i) => i < 2 || !isAccumulated(i - 2));
  return { body: { ...body, inputs, outputs, nodes: body.nodes.filter((n) => !dropped.has(n)) }, found };
}

const isTrue = (v: Value): boolean => factOf(v)?.exact === 1;

/** [trips, …item] joined along an axis of the item, after the initial value. */
function joinScanned(initial: Value, scanned: Value, given: number): Value {
  const rank = scanned.type.shape.length - 1;
  const axis = given < 0 ? given + rank : given;
  const [trips, ...item] = scanned.type.shape as [Dim, ...Dim[]];
  const moved = moveAxis(scanned, 0, axis);
  const joined = reshapeTo(
    moved,
    item.map((d, a) => (a === axis ? dimMul(trips, d) : d)),
  );
  return initial.type.shape[axis] === 0 ? joined : concatenate([initial, joined], axis);
}

/** Repeats the body in place; the condition must be known each time. */
function unroll(
  c: NodeContext,
  body: OnnxGraph,
  trips: number,
  state: readonly Bound[],
  reason: string,
): readonly Bound[] {
  let carried = state;
  let going = c.has(1) ? c.input(1) : scalarConstant("bool", 1);
  const rows: (readonly Bound[])[] = [];
  for (let i = 0; i < trips; i++) {
    const known = factOf(going)?.exact;
    if (typeof known !== "number") {
      const needs = c.services.needs.ofValue(going);
      throw c.error(`${reason}, and its condition depends on the data`, undefined, needs);
    }
    if (known === 0) break;
    if (i === MAX_UNROLL)
      throw c.error(`${reason}, and its iterations are too many to write out (at most ${MAX_UNROLL})`);
    const results = c.services.inline(body, [scalarConstant("i64", i), going, ...carried], c.scope);
    if (failed(results)) return [];
    going = results[0] as Value;
    carried = results.slice(1, state.length + 1);
    rows.push(results.slice(state.length + 1));
  }
  const scanned = body.outputs.slice(state.length + 1).map((_, j) => {
    if (rows.length === 0) throw c.error(`${reason}, and no iteration runs`);
    return stack(rows.map((row) => row[j] as Value));
  });
  return [...carried, ...scanned];
}

const loopRow: ImportOp = (c): readonly Bound[] => {
  const body = c.attrs.graph("body");
  const initial = c.inputs.slice(2).map((b): Bound => b ?? { kind: "absent" });
  if (body.inputs.length !== initial.length + 2)
    throw c.error(`its body takes ${body.inputs.length - 2} carried values, but ${initial.length} are given`);
  const count = c.has(0) ? reshapeTo(asType(c.input(0), "i64"), []) : undefined;
  const stated = count && dimOf(factOf(count));
  // Exporters write the largest integer for "no limit".
  const unlimited = count === undefined || (typeof stated === "number" && stated >= 1e9);
  const limit = unlimited || stated === undefined ? undefined : dimMax(stated, 0);
  const condition = c.has(1) ? reshapeTo(asType(c.input(1), "bool"), []) : scalarConstant("bool", 1);

  const { body: core, found } = takeAccumulators(body, initial.length);
  const others = initial.filter((_, at) => !found.some((f) => f.at === at));
  /** The body again and again, for what can't be a loop of the IR. */
  const written = (reason: string): readonly Bound[] => {
    const most = unlimited ? Number.POSITIVE_INFINITY : limit;
    if (typeof most === "number") return unroll(c, body, most, initial, reason);
    throw c.error(`${reason}, and its number of iterations is not fixed`, undefined, c.services.needs.ofValue(count!));
  };
  const start = others.map((b) => (isValue(b) ? b : undefined));
  if (start.some((v) => v === undefined)) return written("it carries sequences or optionals");
  const state = start as readonly Value[];
  const params = [
    param("i", { dtype: "i64", shape: [] }),
    param("going", { dtype: "bool", shape: [] }),
    ...state.map((v, i) => param(core.inputs[i + 2]?.name || `x${i}`, v.type)),
  ];
  const counts = count ? [count, condition] : [condition];
  for (const [k, p] of params.entries()) c.services.needs.origin(p, k === 0 ? counts : [...counts, ...state]);
  const attempt = (ps: readonly Value[] = params) => trace(c, ps, (inner) => c.services.inline(core, inner, c.scope));
  // A body that needs its iteration number when compiling (a position in a sequence) can be written out.
  const constant = [condition, ...state].every((v) => constantOf(v));
  const short = (typeof limit === "number" && limit <= MAX_UNROLL) || (unlimited && constant);
  const traced = short ? c.services.tentatively(attempt) : attempt();
  if (!traced) return short ? written("its body can't be a region") : [];
  const { region } = traced;
  if (traced.shells.some((s) => s.kind !== "value")) return written("its body gives sequences");
  const [next, ...results] = region.results as [Value, ...Value[]];
  const changed = state.findIndex((v, i) => !fits(v, results[i]!));
  if (changed >= 0) {
    const [from, to] = [state[changed]!, results[changed]!].map((v) => typeText(v.type));
    const reason = `carried value ${changed} changes from ${from} to ${to}`;
    // Written out, sizes stay known when compiling.
    const unrolled = short ? c.services.tentatively(() => written(reason)) : undefined;
    if (unrolled) return unrolled;
    const loopInputs = { params, state, results, count, condition, limit };
    const resized = c.services.tentatively(() => resizedLoop(c, loopInputs, attempt));
    return resized ? finish(resized) : written(reason);
  }
  const endless = isTrue(condition) && (isTrue(next) || next === params[1]);
  const made =
    endless && limit !== undefined
      ? counted(region, limit, state)
      : whileLoop(c, region, count, condition, limit, state, results.length);

  return finish(made);

  function finish(made: readonly Value[]): readonly Bound[] {
    const carried = made.slice(0, state.length);
    const scanned = made.slice(state.length);
    const appended = scanned.slice(scanned.length - found.length);
    const rest = carried.values();
    const final = initial.map((b, at): Bound => {
      const index = found.findIndex((f) => f.at === at);
      if (index < 0) return rest.next().value as Value;
      const { axis } = found[index]!;
      if (axis !== undefined) return joinScanned(b as Value, appended[index]!, axis);
      if (!isValue(b) && b.kind === "sequence" && b.items.length === 0)
        return { kind: "stacked", value: appended[index]! };
      throw c.error("it appends to a sequence that is not empty at first");
    });
    return [...final, ...scanned.slice(0, scanned.length - found.length)];
  }
};

/** Whether a carried value keeps its dtype and shape. */
function fits(before: Value, after: Value): boolean {
  const [a, b] = [before.type, after.type];
  return a.dtype === b.dtype && a.shape.length === b.shape.length && a.shape.every((d, i) => dimEqual(d, b.shape[i]!));
}

/** A loop that runs a known number of times is a scan. */
function counted(region: TracedRegion, trips: Dim, state: readonly Value[]): readonly Value[] {
  const [i, going, ...formal] = region.params as [Value, Value, ...Value[]];
  const [, ...results] = region.results;
  // The condition is always true inside.
  const body: TracedRegion = { ...region, params: [...formal, i], results };
  const captures = region.captured;
  const closed = closeRegion("body", { ...body, params: [...formal, i, going] }, captures);
  const steps = iota([], { dtype: "i64", shape: [trips], axis: 0 });
  const yes = full("bool", [trips], 1);
  return scan(
    [...state, steps, yes, ...captures],
    { carried: state.length, inputs: 2, length: trips, reverse: false },
    [closed],
  );
}

function whileLoop(
  c: NodeContext,
  region: TracedRegion,
  count: Value | undefined,
  condition: Value,
  limit: Dim | undefined,
  state: readonly Value[],
  results: number,
): readonly Value[] {
  const captures = region.captured;
  const regions = [closeRegion("body", region, captures)];
  const operands = [tripCountOf(count), condition, ...state, ...captures];
  if (results === state.length) return loop(operands, { carried: state.length }, regions);
  const trips = c.services.newSize("trips", limit ?? roomFor(c, count));
  const made = loop(operands, { carried: state.length, trips, defines: [trips] }, regions);
  c.services.foundBy(trips, made[0]!);
  return made;
}

export const control = {
  If: ifRow,
  Loop: loopRow,
  Scan: scanRow,
} as const satisfies Readonly<Record<string, OpRow>>;
