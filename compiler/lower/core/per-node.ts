/**
 * What follows from a node alone, computed once for each: nodes never change, and rows of the table are asked whether they serve one, what they
 * cost and how their sums lie, in turn.
 */
export function perNode<N extends object, T>(of: (node: N) => T): (node: N) => T {
  const known = new WeakMap<N, { readonly value: T }>();
  return (node) => {
    let found = known.get(node);
    if (found === undefined) {
      found = { value: of(node) };
      known.set(node, found);
    }
    return found.value;
  };
}
