/** ai.onnx.preview.training: updates of weights, each of several tensors at once, and gradients of a value of the graph. */
import { asType, constantLike, np, reshapeTo, where } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { sqrt } from "../../../ir/ops/elementwise.js";
import { pullback } from "../../../passes/graph/differentiate.js";
import { type Bound, type ImportOp, isValue, type NodeContext, type OpRow } from "../context.js";

/** Learning rate and number of updates done, in the dtype of what is updated. */
interface Settings {
  readonly rate: Value;
  readonly count: Value;
}

/**
 * The outputs of an optimiser whose inputs are the rate, the count, and `kinds` lists of tensors of one length (weights, gradients,
 * state …): each weight's update gives results, which are listed kind by kind.
 */
function update(
  c: NodeContext,
  kinds: number,
  one: (settings: Settings, own: readonly Value[]) => readonly Value[],
): readonly Bound[] {
  const weights = (c.count - 2) / kinds;
  if (!Number.isInteger(weights) || weights < 1)
    throw c.error(`it takes a rate, a count and ${kinds} tensors for each weight, but has ${c.count} inputs`);
  const results = Array.from({ length: weights }, (_, i) => {
    const own = Array.from({ length: kinds }, (_, k) => c.input(2 + k * weights + i));
    const as = (v: Value) => reshapeTo(asType(v, own[0]!.type.dtype), []);
    return one({ rate: as(c.input(0)), count: as(c.input(1)) }, own);
  });
  return results[0]!.flatMap((_, k) => results.map((r) => r[k]!));
}

/** The gradient with the norm's part. */
const regularized = (c: NodeContext, x: Value, g: Value): Value => {
  const norm = c.attrs.float("norm_coefficient", 0);
  return norm === 0 ? g : np.add(np.mul(x, norm), g);
};

const adagrad: ImportOp = (c) =>
  update(c, 3, ({ rate, count }, [x, g, h]) => {
    const r = np.div(rate, np.add(np.mul(count, c.attrs.float("decay_factor", 0)), 1));
    const gradient = regularized(c, x!, g!);
    const squares = np.add(h!, np.mul(gradient, gradient));
    const adaptive = np.add(sqrt([squares]), c.attrs.float("epsilon", 0));
    return [np.sub(x!, np.div(np.mul(r, gradient), adaptive)), squares];
  });

const adam: ImportOp = (c) => {
  const [alpha, beta] = [c.attrs.float("alpha", 0.9), c.attrs.float("beta", 0.999)];
  return update(c, 4, ({ rate, count }, [x, g, v, h]) => {
    const gradient = regularized(c, x!, g!);
    const mean = np.add(np.mul(v!, alpha), np.mul(gradient, 1 - alpha));
    const squares = np.add(np.mul(h!, beta), np.mul(np.mul(gradient, gradient), 1 - beta));
    const bias = (base: number) => np.sub(1, np.pow(constantLike(count, base), count));
    const adjusted = where(np.gt(count, 0), np.div(np.mul(rate, sqrt([bias(beta)])), bias(alpha)), rate);
    const step = np.div(np.mul(adjusted, mean), np.add(sqrt([squares]), c.attrs.float("epsilon", 0)));
    const after = 1 - c.attrs.float("norm_coefficient_post", 0);
    const next = np.sub(x!, step);
    return [after === 1 ? next : np.mul(next, after), mean, squares];
  });
};

const momentum: ImportOp = (c) => {
  const [alpha, beta] = [c.attrs.requiredFloat("alpha"), c.attrs.requiredFloat("beta")];
  const nesterov = c.attrs.oneOf("mode", ["standard", "nesterov"], "standard") === "nesterov";
  return update(c, 3, ({ rate, count }, [x, g, v]) => {
    const gradient = regularized(c, x!, g!);
    const weight = where(np.gt(count, 0), constantLike(count, beta), 1);
    const next = np.add(np.mul(v!, alpha), np.mul(weight, gradient));
    const direction = nesterov ? np.add(gradient, np.mul(next, alpha)) : next;
    return [np.sub(x!, np.mul(rate, direction)), next];
  });
};

/** Derivatives of a value that the graph computes, at the values that it computes them from. */
const gradient: ImportOp = (c) => {
  const [xs, zs] = [c.attrs.strings("xs", []), c.attrs.strings("zs", [])];
  const names = [...xs, ...zs];
  const named = (name: string): Value => {
    const bound = c.scope.get(name);
    if (!isValue(bound)) throw c.error(`"${name}" is no tensor that the graph computes before the node`);
    return bound;
  };
  if (names.length !== c.count || names.some((name, i) => named(name) !== c.input(i)))
    throw c.error(
      "it asks for derivatives at other values than those that the graph computes",
      `its inputs should be ${names.join(", ")}`,
    );
  const y = named(c.attrs.requiredString("y"));
  const wanted = xs.map(named);
  return pullback([y], [constantLike(y, 1)], wanted).map((d, i) => d ?? constantLike(wanted[i]!, 0));
};

export const training = {
  Adagrad: adagrad,
  Adam: adam,
  Gradient: gradient,
  Momentum: momentum,
} as const satisfies Readonly<Record<string, OpRow>>;
