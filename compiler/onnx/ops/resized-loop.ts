/** Loops whose carried values change their sizes. */
import { full, np, where } from "../../../ir/build.js";
import {
  type Dim,
  type DimExpr,
  dimAdd,
  dimBounds,
  dimEqual,
  dimMax,
  dimMul,
  dimSub,
  dimSubstitute,
  dimSymbols,
} from "../../../ir/dim.js";
import { param, type Value } from "../../../ir/graph.js";
import { scalarConstant } from "../../../ir/ops/constant.js";
import { loop } from "../../../ir/ops/control.js";
import { bindDim } from "../../../ir/ops/dynamic.js";
import { closeRegion } from "../../../ir/regions.js";
import { constantOf } from "../../../passes/values/index.js";
import type { NodeContext } from "../context.js";
import type { trace } from "./region.js";

type Traced = NonNullable<ReturnType<typeof trace>>;

/** A number of rounds up to this is believed; larger ones mean "until the condition says so". */
const MAX_STATED = 2 ** 24;

/** For how many rounds the results that a loop collects have room, where its trip count is not known when compiling. */
export function roomFor(c: NodeContext, count: Value | undefined): Dim {
  const { maxUnknownSize, unknownRounds } = c.services;
  if (count === undefined || constantOf(count) !== undefined) return unknownRounds;
  const believed = Math.min(MAX_STATED, maxUnknownSize);
  const most = where(np.gt(count, believed), full("i64", [], unknownRounds), np.max(count, 0));
  return c.services.findSize("rounds", believed, (defines) => bindDim([most], { defines })).size;
}

/** No value is longer. */
const MOST_SIZE = 2 ** 31 - 1;

/** The trip count of a loop; without one, the largest there is. */
export const tripCountOf = (count: Value | undefined): Value => count ?? scalarConstant("i64", (1n << 63n) - 1n);

interface Resizing {
  readonly params: readonly Value[];
  readonly state: readonly Value[];
  /** What a first round makes of them. */
  readonly results: readonly Value[];
  readonly count: Value | undefined;
  readonly condition: Value;
  readonly limit: Dim | undefined;
}

/**
 * A loop whose carried values change their sizes: each size that changes is found anew in every round. There is room for what
 * all rounds add. Undefined where the loop has no such form.
 */
export function resizedLoop(
  c: NodeContext,
  { params, state, results, count, condition, limit }: Resizing,
  attempt: (params: readonly Value[]) => Traced | undefined,
): readonly Value[] | undefined {
  const alike = (v: Value, i: number) =>
    v.type.dtype === results[i]!.type.dtype && v.type.shape.length === results[i]!.type.shape.length;
  if (!state.every(alike)) return undefined;
  const sized = (boundOf: (at: number, axis: number) => Dim) => {
    const sizes = state.map((v, at) =>
      v.type.shape.map((d, axis) =>
        dimEqual(d, results[at]!.type.shape[axis]!) ? undefined : c.services.newSize("carried", boundOf(at, axis)),
      ),
    );
    const own = [
      ...params.slice(0, 2),
      ...state.map((v, at) =>
        param(`x${at}`, { dtype: v.type.dtype, shape: v.type.shape.map((d, axis) => sizes[at]![axis] ?? d) }),
      ),
    ];
    sizes.forEach((shape, at) => {
      for (const size of shape) if (size) c.services.foundBy(size, own[at + 2]!);
    });
    return { sizes, traced: attempt(own) };
  };
  const first = sized(() => MOST_SIZE);
  if (!first.traced) return undefined;
  const firstNames = namesOf(first.sizes);
  /** What a round adds at most: the same in every round, or there is no telling how large the value becomes. */
  const grown = state.map((v, at) =>
    v.type.shape.map((_, axis): Dim | undefined => {
      const before = first.sizes[at]![axis];
      if (before === undefined) return 0;
      const after = first.traced!.region.results[at + 1]!.type.shape[axis]!;
      const added = dimSub(largest(after, firstNames), before);
      if (!mentions(added, firstNames)) return added;
      const { max } = dimBounds(added);
      return max <= MAX_STATED ? max : undefined;
    }),
  );
  if (grown.flat().includes(undefined)) return undefined;
  const rounds = limit ?? roomFor(c, count);
  const boundOf = (at: number, axis: number) =>
    dimAdd(state[at]!.type.shape[axis]!, dimMul(rounds, dimMax(grown[at]![axis]!, 0)));
  const { sizes, traced } = sized(boundOf);
  if (!traced || traced.shells.some((s) => s.kind !== "value")) return undefined;
  const { region } = traced;
  const made = region.results.slice(1);
  // Those of the rounds, and then those of the results.
  const defines: DimExpr[] = sizes.flat().flatMap((n) => n ?? []);
  const names = namesOf(sizes);
  // Rows that a loop collects have one shape.
  if (made.slice(state.length).some((v) => v.type.shape.some((d) => mentions(d, names)))) return undefined;
  const trips = made.length > state.length ? c.services.newSize("trips", rounds) : undefined;
  if (trips) defines.push(trips);
  const shapes = made.map((v, at) => {
    if (at >= state.length) return [trips!, ...v.type.shape];
    return v.type.shape.map((d, axis) => {
      if (sizes[at]![axis] === undefined) return d;
      const size = c.services.newSize("carried", boundOf(at, axis));
      defines.push(size);
      return size;
    });
  });
  const captures = region.captured;
  const values = loop(
    [tripCountOf(count), condition, ...state, ...captures],
    { carried: state.length, shapes, defines, ...(trips ? { trips } : {}) },
    [closeRegion("body", region, captures)],
  );
  for (const size of defines) c.services.foundBy(size, values[0]!);
  return values;
}

const namesOf = (sizes: readonly (readonly (DimExpr | undefined)[])[]): ReadonlySet<string> =>
  new Set(sizes.flat().flatMap((n) => n?.key ?? []));

const mentions = (d: Dim, names: ReadonlySet<string>): boolean => [...dimSymbols(d).keys()].some((s) => names.has(s));

/** The expression with sizes that a round finds at their bounds, those of the names as they are. */
function largest(d: Dim, names: ReadonlySet<string>): Dim {
  return dimSubstitute(d, (s) => (s.bound === undefined || names.has(s.name) ? undefined : largest(s.bound, names)));
}
