/** What control flow asks of its regions. All throw ModelError with what was expected. */

import { type Dim, type DimSymbol, dimSymbols } from "../dim.js";
import { ModelError } from "../errors.js";
import { definedSymbols, type Graph, graphNodes, paramName, type TensorType, typeText } from "../graph.js";
import { mergeShapes } from "../infer.js";

/** One region of several; throws when there are not `count`. */
export function requireRegions(regions: readonly Graph[], count: number): readonly Graph[] {
  if (regions.length !== count) throw new ModelError(`${count} regions are needed, not ${regions.length}`);
  return regions;
}

/** A value of this type may be handed to that parameter or come from that result. */
export function requireFit(given: TensorType, wanted: TensorType, what: string): void {
  if (given.dtype !== wanted.dtype || given.shape.length !== wanted.shape.length) {
    throw new ModelError(`${what} is ${typeText(given)} where ${typeText(wanted)} is expected`);
  }
  mergeShapes(given.shape, wanted.shape);
}

/** The same where the run sets sizes that stand alone as an unknown in what is wanted: those take any size. */
export function requireResizable(given: TensorType, wanted: TensorType, what: string): void {
  const isSet = (d: Dim) => typeof d !== "number" && dimSymbols(d).get(d.key)?.bound !== undefined;
  const shape = wanted.shape.map((d, axis) => (isSet(d) ? (given.shape[axis] ?? d) : d));
  requireFit(given, { dtype: wanted.dtype, shape }, what);
}

export function requireParams(region: Graph, given: readonly TensorType[], fits: typeof requireFit = requireFit): void {
  if (region.params.length !== given.length) {
    throw new ModelError(`region ${region.name} takes ${region.params.length} values, but gets ${given.length}`);
  }
  region.params.forEach((p, i) => {
    fits(given[i]!, p.type, `parameter ${paramName(p)} of region ${region.name}`);
  });
}

/** Results may not have sizes that only a region finds: outside nobody knows them. */
export function requireKnownSizes(results: readonly TensorType[], regions: readonly Graph[]): readonly TensorType[] {
  const unknown = new Map<string, DimSymbol>();
  for (const t of results) for (const d of t.shape) dimSymbols(d, unknown);
  if ([...unknown.values()].every((s) => s.bound === undefined)) return results;
  const inside = new Set(regions.flatMap(graphNodes).flatMap((n) => definedSymbols(n).map((s) => s.name)));
  results.forEach((t, i) => {
    const name = t.shape.flatMap((d) => [...dimSymbols(d).keys()]).find((s) => inside.has(s));
    if (name === undefined) return;
    throw new ModelError({
      message: `result ${i} is ${typeText(t)}, whose size ${name} is found anew each time that the region runs`,
      hint: "results of control flow need sizes that are known outside",
    });
  });
  return results;
}
