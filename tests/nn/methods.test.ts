/** Values have the functions of F as methods: the same nodes, typed alike. */
import { expect, expectTypeOf, it } from "vitest";
import { type Methods, methodNames } from "../../compiler/dsl/f/methods.js";
import { F } from "../../compiler/dsl/index.js";
import { ModelError } from "../../ir/errors.js";
import { graph, param, type Shape, type Value } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { evaluate } from "../../ir/reference.js";
import { tensorFrom, toNumbers } from "../../ir/tensor.js";
import { functionsOfF, type Parameter } from "../../scripts/function-signatures.js";

const x = param("x", { dtype: "f32", shape: [2, 3] });
const index = param("index", { dtype: "i64", shape: [2, 3] });

/** What a call builds, as text; or what it says. */
function built(call: () => unknown): string {
  try {
    const made = call();
    return printGraph(graph("g", [x, index], [made].flat() as Value[]));
  } catch (error) {
    if (error instanceof ModelError) return error.message;
    throw error;
  }
}

const argument = ({ name, type }: Parameter): unknown => {
  if (/^(Value|Arg)\b/.test(type)) return name === "index" ? index : x;
  if (type.startsWith("DType")) return "f32";
  if (/^(readonly|Shape)/.test(type)) return name === "shape" ? [3, 2] : [1, 0];
  return 1;
};

const facts = new Map(functionsOfF().map((f) => [f.name, f]));

for (const name of methodNames) {
  it(`x.${name}(…) is F.${name}(x, …)`, () => {
    const rest = facts
      .get(name)!
      .parameters.slice(1)
      .filter((p) => !p.optional)
      .map(argument);
    const f = (F as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!;
    const method = (x as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!;
    expect(built(() => method.apply(x, rest))).toBe(built(() => f(x, ...rest)));
  });
}

it("reads from left to right", () => {
  const kl = x.add(1).sub(x.square()).sub(x.exp()).sum().mul(-0.5);
  const data = [0.5, -1, 2, 0, 0.25, 1];
  const want = -0.5 * data.reduce((s, v) => s + 1 + v - v * v - Math.exp(v), 0);
  const [got] = evaluate(graph("g", [x], [kl]), [tensorFrom("f32", [2, 3], data)]);
  expect(toNumbers(got!)[0]).toBeCloseTo(want, 5);
});

type Untyped = { [K in keyof Methods]: [Methods[K]] extends [never] ? K : never }[keyof Methods];

it("is typed, overloads too", () => {
  expectTypeOf<Untyped>().toEqualTypeOf<never>();
  expectTypeOf(x.add(1).shape).toEqualTypeOf<Shape>();
  expectTypeOf(x.max()).toEqualTypeOf<Value>();
  expectTypeOf(x.max(1)).toEqualTypeOf<readonly [values: Value, indices: Value]>();
  expectTypeOf(x.topK(2)).toEqualTypeOf<readonly [values: Value, indices: Value]>();
  expectTypeOf(x.sum).parameter(1).toEqualTypeOf<boolean | undefined>();
  expect([x.shape, x.dtype]).toEqual([[2, 3], "f32"]);
});

it("refuses JavaScript's operators", () => {
  const any = x as unknown as number;
  for (const wrong of [() => any + 1, () => 2 * any, () => -any, () => any < 0])
    expect(wrong).toThrow(/an operator is applied to a value f32\[2,3\]/);
  expect(`${x}`).toBe("f32[2,3]");
});
