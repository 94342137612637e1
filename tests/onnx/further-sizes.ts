/** Recorded inputs at other sizes. */
import { dimSymbols, evaluateDim } from "../../ir/dim.js";
import { type Graph, paramName } from "../../ir/graph.js";
import { bindShape } from "../../ir/reference.js";
import { element, setElement, type Tensor, zeros } from "../../ir/tensor.js";

export type Tensors = Readonly<Record<string, Tensor>>;
export type Sizes = Readonly<Record<string, number>>;

/** The named sizes that inputs bind, with their values in the given case. */
export function sizesOf(graph: Graph, inputs: Tensors): Record<string, number> {
  const dims = new Map<string, number>();
  for (const p of graph.params) bindShape(p.type.shape, inputs[paramName(p)]!.shape, dims);
  const named = new Set(graph.params.flatMap((p) => p.type.shape.flatMap((d) => [...dimSymbols(d).keys()])));
  return Object.fromEntries([...dims].filter(([name]) => named.has(name)));
}

/** The tensor repeated or cut to another shape of the same rank; a size of 0 gives zeros. */
function resize(t: Tensor, shape: readonly number[]): Tensor {
  const out = zeros(t.dtype, shape);
  const index = shape.map(() => 0);
  for (let flat = 0; flat < out.data.length; flat++) {
    const from = index.reduce((at, i, axis) => at * t.shape[axis]! + (i % t.shape[axis]!), 0);
    if (t.data.length > 0) setElement(out, flat, typeof t.data[from] === "bigint" ? t.data[from] : element(t, from));
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0;
  }
  return out;
}

/** The case's inputs at the given sizes. Sizes that are not named stay. */
export function inputsAt(graph: Graph, inputs: Tensors, sizes: Sizes): Tensors {
  const env = new Map(Object.entries({ ...sizesOf(graph, inputs), ...sizes }));
  return Object.fromEntries(
    graph.params.map((p) => {
      const name = paramName(p);
      return [
        name,
        resize(
          inputs[name]!,
          p.type.shape.map((d) => evaluateDim(d, env)),
        ),
      ];
    }),
  );
}
