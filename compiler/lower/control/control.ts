/**
 * Control flow becomes structured steps. Carried values live in buffers of their own; a region's results are copied there at the
 * end of each round. Rows of a scan are views at an offset of the loop's symbol: nothing is copied to read them.
 */

import {
  type Dim,
  type DimExpr,
  dimAdd,
  dimBounds,
  dimEqual,
  dimMul,
  dimSub,
  dimSubstitute,
  dimSymbol,
  dimSymbols,
  dimText,
} from "../../../ir/dim.js";
import { ModelError } from "../../../ir/errors.js";
import type { Graph, Shape, Value } from "../../../ir/graph.js";
import { copyGraph } from "../../../ir/graph-rebuild.js";
import { assumeEqual, assumeNotNegative, recordAssumptions } from "../../../ir/infer.js";
import * as B from "../../../ir/loop-build.js";
import { bigElement } from "../../../ir/tensor.js";
import type { View } from "../../schedule.js";
import { type LowerContext, offsetView } from "../core/context.js";
import { KernelBuilder } from "../core/kernel-builder.js";
import { orderNodes } from "../core/order.js";
import { sizeOf } from "../core/place.js";
import type { Node } from "../elementwise/structured.js";

interface LoweredRegion {
  readonly region: Graph;
  readonly results: readonly View[];
}

/**
 * Lowers the region's nodes here. A region may be shared by several nodes: each lowers a copy. `captures`: those of a loop. `over`:
 * results that are meant to be written over a parameter.
 */
function lowerRegion(
  ctx: LowerContext,
  shared: Graph,
  args: readonly View[],
  { captures = [], over }: { readonly captures?: readonly Value[]; readonly over?: ReadonlyMap<number, number> } = {},
): LoweredRegion {
  const region = copyGraph(shared);
  for (const [result, p] of over ?? []) ctx.writesOver(region.results[result]!, region.params[p]!);
  captures.forEach((v, i) => {
    ctx.captured(region.params[args.length - captures.length + i]!, v);
  });
  region.params.forEach((p, i) => {
    ctx.define(p, args[i]!);
  });
  ctx.use(region.results);
  ctx.lower(orderNodes(over ? { ...region, donations: over } : region));
  return { region, results: region.results.map((v) => ctx.view(v)) };
}

function copy(ctx: LowerContext, from: View, to: View, count: Dim, loc: string | undefined): void {
  if (from.buffer === to.buffer && dimEqual(from.offset, to.offset)) return;
  ctx.add({ kind: "copy", count, from, to, loc });
}

/**
 * Checks that values of the actual shapes fit where those of the wanted ones are expected, once sizes that are left to data are
 * what the values give. To be done before the values are copied there.
 */
function checkFit(
  ctx: LowerContext,
  wanted: readonly Shape[],
  actual: readonly Shape[],
  loc: string | undefined,
): void {
  const found = new Map<string, Dim>();
  const assumptions = recordAssumptions(() => {
    wanted.forEach((shape, i) => {
      shape.forEach((d, axis) => {
        const size = actual[i]![axis]!;
        if (dimEqual(d, size)) return;
        const symbol = typeof d === "number" ? undefined : dimSymbols(d).get(d.key);
        if (symbol?.bound === undefined || found.has(symbol.name)) {
          assumeEqual(
            dimSubstitute(d, (s) => found.get(s.name)),
            size,
          );
          return;
        }
        found.set(symbol.name, size);
        const text = `${dimText(size)} must be ${symbol.min} to ${dimText(symbol.bound)} here`;
        assumeNotNegative(dimSub(size, symbol.min), text);
        assumeNotNegative(dimSub(symbol.bound, size), text);
      });
    });
  });
  ctx.require(assumptions, loc, "control flow");
}

/** Where a wanted shape leaves a size to data, gives that size the actual value. */
function bindSizes(
  ctx: LowerContext,
  wanted: readonly Shape[],
  actual: readonly Shape[],
  loc: string | undefined,
): void {
  const bound = new Set<string>();
  wanted.forEach((shape, i) => {
    shape.forEach((d, axis) => {
      const size = actual[i]![axis]!;
      if (typeof d === "number" || dimEqual(d, size)) return;
      const symbol = dimSymbols(d).get(d.key);
      if (symbol === undefined || bound.has(symbol.name)) return;
      if (symbol.bound === undefined) {
        throw new ModelError({
          where: loc,
          message: `size ${d.key} changes in control flow and has no upper bound`,
          hint: "give the changing size a bound, or a shape that does not change",
        });
      }
      bound.add(symbol.name);
      const k = new KernelBuilder();
      k.block.store("i32", k.sizeSlot(symbol.name), 0, k.size(size, "size"));
      ctx.add(k.step(ctx.pool, "set_size", loc));
    });
  });
}

export function lowerIf(ctx: LowerContext, node: Node<"if">): void {
  const [condition, ...captures] = node.operands as readonly [Value, ...Value[]];
  const args = captures.map((v) => ctx.view(v));
  const results = node.results.map((r) => ctx.result(r));
  const over = oldValues(ctx, node);
  const branch = (shared: Graph) =>
    ctx.collect(() => {
      const lowered = lowerRegion(ctx, shared, args, { over });
      const shapes = lowered.region.results.map((v) => v.type.shape);
      const wanted = node.attrs.shapes ?? node.results.map((r) => r.type.shape);
      checkFit(ctx, wanted, shapes, node.loc);
      // Sizes first: the results' memory is placed by them.
      bindSizes(ctx, node.attrs.shapes ?? [], shapes, node.loc);
      lowered.results.forEach((from, i) => {
        copy(ctx, from, results[i]!, sizeOf(wanted[i]!), node.loc);
      });
    });
  const [yes, no] = node.regions as readonly [Graph, Graph];
  ctx.add({ kind: "if", condition: ctx.view(condition), then: branch(yes), else: branch(no), loc: node.loc });
}

/**
 * Which captured value each result of an `if` is the next one of: the state that it is donated to; else what one of the branches
 * passes through, so that the other may write there and the first need do nothing.
 */
function oldValues(ctx: LowerContext, node: Node<"if">): ReadonlyMap<number, number> {
  const captures = node.operands.slice(1);
  const found = new Map<number, number>();
  const taken = new Set<number>();
  node.results.forEach((r, i) => {
    const target = ctx.writtenOver(r);
    const passed = node.regions.map((g) => g.params.indexOf(g.results[i]!));
    const places = [target === undefined ? -1 : captures.indexOf(target), ...passed];
    const place = places.find((p) => p >= 0 && !taken.has(p));
    if (place === undefined) return;
    taken.add(place);
    found.set(i, place);
  });
  return found;
}

/** Copies that behave as if made at once: a value that another copy overwrites is saved first. */
function copyAll(
  ctx: LowerContext,
  moves: readonly { from: View; to: View; count: Dim; shape: Shape }[],
  loc: string | undefined,
): void {
  const targets = new Set(moves.map((m) => m.to.buffer));
  const saved = moves.map((m) => {
    if (m.from.buffer === m.to.buffer || !targets.has(m.from.buffer)) return m;
    const temp = ctx.temp(m.from.buffer.dtype, m.shape);
    copy(ctx, m.from, temp, m.count, loc);
    return { ...m, from: temp };
  });
  for (const m of saved) copy(ctx, m.from, m.to, m.count, loc);
}

/** The symbol that counts the rounds of a loop. */
function roundSymbol(ctx: LowerContext, length: Dim): { readonly name: string; readonly round: Dim } {
  const name = `_round.${ctx.temp("i32", []).buffer.id}`;
  const most = dimBounds(length).max;
  return { name, round: dimSymbol(name, { min: 0, max: Math.max(0, most - 1) }) };
}

const row = (whole: View, round: Dim, shape: Shape): View => offsetView(whole, dimMul(round, sizeOf(shape)));

export function lowerScan(ctx: LowerContext, node: Node<"scan">): void {
  const { carried, inputs, length, reverse } = node.attrs;
  const shared = node.regions[0]!;
  const states = carriedBuffers(ctx, node.operands.slice(0, carried), shared.params.slice(0, carried), node.loc);
  const scanned = node.results.slice(carried).map((r) => ctx.result(r));
  const { name, round } = roundSymbol(ctx, length);
  const body = ctx.collect(() => {
    const rows = node.operands
      .slice(carried, carried + inputs)
      .map((v) => row(ctx.view(v), round, v.type.shape.slice(1)));
    const captures = node.operands.slice(carried + inputs);
    const args = [...states, ...rows, ...captures.map((v) => ctx.view(v))];
    const { region, results } = lowerRegion(ctx, shared, args, { captures });
    const carriedShapes = shared.params.slice(0, carried).map((p) => p.type.shape);
    finishRound(ctx, region.results, results, { states, carried: carriedShapes, scanned }, round, node.loc);
  });
  const fills = scanned.map((v) => v.buffer);
  ctx.add({ kind: "for", symbol: name, count: length, reverse, condition: undefined, body, fills, loc: node.loc });
  node.results.slice(0, carried).forEach((r, i) => {
    ctx.define(r, states[i]!);
  });
}

/** Memory for carried values, holding their first values. */
function carriedBuffers(
  ctx: LowerContext,
  initial: readonly Value[],
  params: readonly Value[],
  loc: string | undefined,
): readonly View[] {
  checkFit(
    ctx,
    params.map((p) => p.type.shape),
    initial.map((v) => v.type.shape),
    loc,
  );
  return initial.map((v, i) => {
    const view = ctx.temp(v.type.dtype, params[i]!.type.shape);
    copy(ctx, ctx.view(v), view, sizeOf(v.type.shape), loc);
    return view;
  });
}

interface Rows {
  /** Where carried values are kept from round to round, and their shapes. */
  readonly states: readonly View[];
  readonly carried: readonly Shape[];
  /** Where scanned values are stacked. */
  readonly scanned: readonly View[];
}

/** Stacks the scanned results as rows, then carries the others over. */
function finishRound(
  ctx: LowerContext,
  values: readonly Value[],
  results: readonly View[],
  { states, carried, scanned }: Rows,
  round: Dim,
  loc: string | undefined,
): void {
  scanned.forEach((whole, j) => {
    const at = states.length + j;
    const { shape } = values[at]!.type;
    copy(ctx, results[at]!, row(whole, round, shape), sizeOf(shape), loc);
  });
  const shapes = states.map((_, i) => values[i]!.type.shape);
  checkFit(ctx, carried, shapes, loc);
  const moves = states.map((to, i) => {
    const shape = shapes[i]!;
    return { from: results[i]!, to, count: sizeOf(shape), shape };
  });
  copyAll(ctx, moves, loc);
}

export function lowerLoop(ctx: LowerContext, node: Node<"loop">): void {
  const [tripCount, condition, ...values] = node.operands as readonly [Value, Value, ...Value[]];
  const { carried, trips, shapes } = node.attrs;
  const shared = node.regions[0]!;
  const { loc } = node;
  const params = shared.params.slice(2, 2 + carried);
  const states = carriedBuffers(ctx, values.slice(0, carried), params, loc);
  const goOn = ctx.temp("bool", []);
  copy(ctx, ctx.view(condition), goOn, 1, loc);
  const iteration = ctx.temp("i64", []);
  const made = ctx.temp("i64", []);
  storeCount(ctx, 0, made, loc);
  bindSizes(
    ctx,
    params.map((p) => p.type.shape),
    values.slice(0, carried).map((v) => v.type.shape),
    loc,
  );

  const scanned = node.results.slice(carried).map((r) => ctx.result(r));
  const count = rounds(ctx, tripCount, scanned.length === 0 ? undefined : trips, loc);
  const { name, round } = roundSymbol(ctx, typeof count === "number" ? count : 2 ** 31 - 1);
  const body = ctx.collect(() => {
    storeCount(ctx, round, iteration, loc);
    const captures = values.slice(carried);
    const args = [iteration, goOn, ...states, ...captures.map((v) => ctx.view(v))];
    const { region, results } = lowerRegion(ctx, shared, args, { captures });
    // The condition is carried too: it may be what a carried value was before.
    const kept = { states: [goOn, ...states], carried: [[], ...params.map((p) => p.type.shape)], scanned };
    finishRound(ctx, region.results, results, kept, round, loc);
    storeCount(ctx, dimAdd(round, 1), made, loc);
    bindSizes(
      ctx,
      params.map((p) => p.type.shape),
      region.results.slice(1, 1 + carried).map((v) => v.type.shape),
      loc,
    );
  });
  const fills = scanned.map((v) => v.buffer);
  ctx.add({ kind: "for", symbol: name, count, reverse: false, condition: goOn, body, fills, loc });
  if (trips !== undefined && typeof trips !== "number") {
    const wanted = scanned.length === 0 ? undefined : ctx.view(tripCount);
    bindTrips(ctx, { trips, made, wanted, goOn, loc });
  }
  if (shapes)
    bindSizes(
      ctx,
      shapes.slice(0, carried),
      params.map((p) => p.type.shape),
      loc,
    );
  node.results.slice(0, carried).forEach((r, i) => {
    ctx.define(r, states[i]!);
  });
}

/** A size as an i64 in memory. */
function storeCount(ctx: LowerContext, value: Dim, to: View, loc: string | undefined): void {
  const k = new KernelBuilder();
  k.block.store("i64", k.pointer(to, "write"), 0, B.convert("i64.from_i32S", k.size(value, "value")));
  ctx.add(k.step(ctx.pool, "store_count", loc));
}

/**
 * Most rounds of a loop: known, or in memory. Where values are stacked there is room for `trips` of them at most, so the
 * count is cut to that.
 */
function rounds(ctx: LowerContext, tripCount: Value, trips: Dim | undefined, loc: string | undefined): Dim | View {
  if (tripCount.def.op === "constant") {
    const known = bigElement(tripCount.def.attrs.value, 0);
    const most = known > 2n ** 31n - 1n ? 2 ** 31 - 1 : Math.max(0, Number(known));
    if (trips === undefined || typeof trips === "number") return most;
  }
  const view = ctx.view(tripCount);
  if (trips === undefined) return view;
  const cut = ctx.temp("i64", []);
  const k = new KernelBuilder();
  const given = k.block.let("given", B.load("i64", "i64", k.pointer(view, "read"), 0));
  const room = k.block.let("room", B.convert("i64.from_i32S", k.size(roomOf(trips), "room")));
  k.block.store("i64", k.pointer(cut, "write"), 0, B.select(B.ltS(given, room), given, room));
  ctx.add(k.step(ctx.pool, "cut_count", loc));
  return cut;
}

/** For how many rounds there is room in stacked results. */
function roomOf(trips: Dim): Dim {
  const [symbol] = dimSymbols(trips).values();
  return symbol?.bound ?? trips;
}

interface Rounds {
  readonly trips: DimExpr;
  readonly made: View;
  /** Most rounds that the program asks for, where there is room for fewer. */
  readonly wanted: View | undefined;
  readonly goOn: View;
  readonly loc: string | undefined;
}

/**
 * The rounds made become the size of the stacked results. A loop that would go on, but for the room that was planned for its
 * results, breaks a limit.
 */
function bindTrips(ctx: LowerContext, { trips, made, wanted, goOn, loc }: Rounds): void {
  const k = new KernelBuilder();
  const count = k.block.let("count", B.load("i64", "i64", k.pointer(made, "read"), 0));
  if (wanted) {
    const most = roomOf(trips);
    const room = B.convert("i64.from_i32S", k.size(most, "room"));
    const open = B.ne(B.load("i32", "u8", k.pointer(goOn, "read"), 0), 0);
    const more = B.gtS(B.load("i64", "i64", k.pointer(wanted, "read"), 0), count);
    const message = `the loop makes more than the ${dimText(most)} rounds that its results were planned for`;
    const hint = "give it more room: maxUnknownSize of importOnnx, or the bound of trips";
    k.breaks({ symbol: trips.key, where: loc ?? "loop", message, hint }, B.and(B.geS(count, room), B.and(open, more)));
  }
  k.block.store("i32", k.sizeSlot(trips.key), 0, B.convert("i32.from_i64", count));
  ctx.add(k.step(ctx.pool, "bind_rounds", loc));
}
