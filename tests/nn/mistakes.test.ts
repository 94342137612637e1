/** Mistakes of those who come from PyTorch and Keras, and write JavaScript: each ends in a ModelError that says what to do. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { F, losses, metrics, nn, optim, program, toGraph, trainStep } from "../../compiler/dsl/index.js";
import { ModelError } from "../../ir/errors.js";
import type { Value } from "../../ir/graph.js";

const mlp = () => nn.sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3));
const options = {
  inputs: { x: ["batch", 4] },
  targets: { y: "i64[batch]" },
  loss: losses.crossEntropy(),
  optimizer: optim.Adam(),
};
const step = (changed: object) => () => trainStep(mlp(), { ...options, ...changed } as never);
const built =
  (forward: (x: never, ctx: never) => unknown, shape: unknown = ["n", 4]) =>
  () =>
    toGraph(nn.Lambda(forward as never), { inputs: { x: shape as never } });
const entry = (run: unknown) => () => program(mlp(), { step: run } as never);
const inputs = { x: ["n", 4] };
const net = mlp();

const mistakes: Readonly<Record<string, readonly [mistake: () => unknown, message: RegExp]>> = {
  "an optimiser that is missing": [step({ optimizer: undefined }), /option optimizer: it is missing; expected an opt/],
  "a loss that is missing": [step({ loss: undefined }), /option loss: it is missing/],
  "targets that are missing": [step({ targets: undefined }), /option targets: it is missing/],
  "inputs that are missing": [step({ inputs: undefined }), /option inputs: it is missing/],
  "an optimiser by name": [step({ optimizer: "adam" }), /expected an optimiser, such as optim\.Adam.*got "adam"/],
  "an optimiser that was not called": [step({ optimizer: optim.Adam }), /got the function optim\.Adam/],
  "a loss that was not called": [
    step({ loss: losses.crossEntropy }),
    /losses\.crossEntropy: expected an object of options, got a value f32\[batch,3\]\n.*call it first/,
  ],
  "a metric that was not called": [step({ metrics: { a: metrics.accuracy } }), /metrics\.accuracy.*\n.*call it first/],
  "class labels as floats": [step({ targets: { y: ["batch"] } }), /targets f32\[batch\] do not fit.*\n.*i32 or i64/],
  "class labels with an axis more": [step({ targets: { y: "i64[batch,1]" } }), /targets i64\[batch,1\] do not fit/],
  "arguments of a convolution by place": [
    () => (nn.Conv2d as (...args: unknown[]) => unknown)(1, 2, 3, 1, 1),
    /takes 3 arguments and options, got 5\n.*nn\.Conv2d\(input, output, kernel, \{ padding/,
  ],
  "a layer that was not called": [
    () => nn.sequential(nn.Linear(4, 8), nn.ReLU as never),
    /got the function nn\.ReLU\n.*call it/,
  ],
  "a size that is null": [built((x) => x, [null, 4]), /x: a size is a whole number or a name, not null\n.*"batch"/],
  "an axis by name": [built((x: Value) => x.sum({ dim: 1 } as never)), /expected .*axes.*got Object\n.*x\.sum/],
  "an axis by name in F": [
    built((x: Value) => F.softmax(x, { dim: 1 } as never)),
    /expected a list of axes, got Object\n.*by place/,
  ],
  "a size that is a value": [built((x: Value) => x.reshape([x.size(0) as never, -1])), /size 0 .* a value i64\[\]\n/],
  "a size that is a product": [
    built((x: Value) => x.reshape([(x.shape[0] as never) * 4])),
    /size 0 of a shape is NaN\n.*no numbers of JavaScript/,
  ],
  "random numbers without the context": [
    built((x: Value) => x.add(F.randn([4] as never, undefined as never))),
    /expected the context first, got \[4\]/,
  ],
  "dropout without the context": [
    built((x: Value) => F.dropout(x as never, 0.5 as never)),
    /the context first, got a v/,
  ],
  "a layer without the context": [built((x) => net(x, x)), /called with the context first, but got a value f32\[n,4\]/],
  view: [built((x: Value) => (x as never as { view: (...n: number[]) => Value }).view(-1)), /"view"\n.*x\.reshape/],
  "a transpose by name": [built((x) => (x as { T: unknown }).T), /no member "T"\n.*x\.transpose\(\)/],
  "names in snake_case": [built((x) => (x as { masked_fill: unknown }).masked_fill), /"masked_fill"\n.*maskedFill/],
  "backward()": [built((x: Value) => (x.sum() as never as { backward(): Value }).backward()), /ctx\.minimize/],
  "an async forward": [built(async (x: Value) => x), /./],
  "an async entry": [entry({ inputs, run: async (_: never, { x }: { x: Value }) => x }), /gave a promise\n.*no async/],
  "an entry that is a function": [entry(() => undefined), /expected an entry, got .*\n.*\{ inputs, run/],
  "minimize without an optimiser": [
    () =>
      program(net, {
        step: {
          inputs: { x: ["n", 4] },
          run: (ctx, { x }) => ctx.minimize(net(ctx, x).sum(), net, undefined as never),
        },
      }),
    /minimize: expected an optimiser.*got undefined\n/,
  ],
};

describe("a mistake is told in words", () => {
  it.each(Object.entries(mistakes))("%s", (_, [mistake, message]) => {
    expect(mistake).toThrow(ModelError);
    expect(mistake).toThrow(message);
  });
});

it("PyTorch's ways that are no mistakes", () => {
  const Make = nn.Linear as never as new (...args: unknown[]) => ReturnType<typeof nn.Linear>;
  expect(new Make(4, 8).weight.shape).toEqual([8, 4]);
  expect(nn.Linear.name).toBe("nn.Linear");
  const Adam = optim.Adam as never as new (...args: unknown[]) => ReturnType<typeof optim.Adam>;
  expect(new Adam({ lr: 0.5 }).lr).toBe(0.5);
  const shapes: Record<string, readonly unknown[]> = {};
  built(
    (x: Value) => {
      const all = {
        reshape: x.reshape(-1, 2, 2),
        permute: x.reshape([-1, 2, 2]).permute(2, 0, 1),
        expand: x.expand(3, -1, 4),
      };
      const lists = {
        tile: x.tile([1, 2]),
        tiled: x.tile(1, 2),
        flip: x.flip([0, 1]),
        squeeze: x.unsqueeze([0]).squeeze([0]),
      };
      for (const [name, v] of Object.entries({ ...all, ...lists })) shapes[name] = v.shape;
      return x;
    },
    [6, 4],
  )();
  expect(shapes).toEqual({
    reshape: [6, 2, 2],
    permute: [2, 6, 2],
    expand: [3, 6, 4],
    tile: [6, 8],
    tiled: [6, 8],
    flip: [6, 4],
    squeeze: [6, 4],
  });
});

describe("arguments of any kind", () => {
  const names = Object.keys(F).filter((n) => !["cond", "whileLoop", "scan", "forLoop", "customVjp"].includes(n));
  const junk = (x: Value, ctx: unknown): fc.Arbitrary<unknown> =>
    fc.oneof(
      fc.constantFrom<unknown>(
        x,
        x,
        x,
        ctx,
        x.sum(1).cast("i64"),
        1,
        0,
        -1,
        0.5,
        Number.NaN,
        true,
        null,
        undefined,
        "x",
        "",
      ),
      fc.constantFrom<unknown>(
        [],
        [0],
        [0, 1],
        [x, x],
        {},
        { dim: 1 },
        { reduction: "x" },
        "f32",
        [2, 3],
        new Float32Array(2),
      ),
    );
  it.each(names)("F.%s gives a value or a ModelError", (name) => {
    const f = (F as never as Record<string, (...args: unknown[]) => unknown>)[name]!;
    built(
      (x: Value, ctx: unknown) => {
        fc.assert(
          fc.property(fc.array(junk(x, ctx), { maxLength: 6 }), (args) => {
            try {
              f(...args);
            } catch (error) {
              if (!(error instanceof ModelError)) throw error;
            }
          }),
          { numRuns: 60 },
        );
        return x;
      },
      [2, 3],
    )();
  });
});
