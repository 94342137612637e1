/** What is no value is named where it comes in, by function, layer and entry; nothing ends in a raw TypeError. */
import { describe, expect, it } from "vitest";
import { F, losses, nn, optim, toGraph, trainStep } from "../../compiler/dsl/index.js";
import { computeDtypes, isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { param, type Value } from "../../ir/graph.js";
import { functionsOfF } from "../../scripts/function-signatures.js";

const value = param("x", { dtype: "f32", shape: [2, 3] });
const variable = nn.parameter([3], nn.init.zeros);
const wrong: Readonly<Record<string, unknown>> = {
  undefined: undefined,
  null: null,
  "a Variable": variable,
  "a layer": nn.Linear(3, 4),
  "several values": [value, value],
  "values by name": { output: value, state: value },
  "a host tensor": { dtype: "f32", shape: [1], data: new Float32Array(1) },
  text: "x",
  "a function": () => value,
};

const key = param("key", { dtype: "u32", shape: [2] });
const counter = param("counter", { dtype: "u32", shape: [1] });

/** What a call ends in. */
function outcome(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

const ctx = new nn.Context(nn.Linear(1, 1), () => undefined, { random: { key: () => key, counter: () => counter } });

/** An argument of a type, well enough that the function comes to look at the others. */
function argument(type: string): unknown {
  if (/^(Value|Arg)\b/.test(type)) return value;
  if (type === "Context") return ctx;
  if (type.includes("[h0: Value") || type.includes("[h: Value")) return [value, value];
  if (type.includes("=>")) return () => value;
  if (type === "S" || type === "C" || type === "X") return value;
  if (type === "string") return "ij->ij";
  return /^(readonly|Shape)/.test(type)
    ? type.includes("Value")
      ? [value]
      : [1, 2]
    : type.startsWith("DType")
      ? "f32"
      : 1;
}

describe("a function that is given no value", () => {
  for (const { name, parameters } of functionsOfF()) {
    const own = parameters.filter((p) => !p.optional || p.name.startsWith("..."));
    const places = own.flatMap((p, i) => (/^(Value|Arg)\b|^readonly Value\[\]/.test(p.type) ? [i] : []));
    if (places.length === 0) continue;
    it(`F.${name}`, () => {
      for (const [what, thing] of Object.entries(wrong))
        for (const place of places) {
          const args = own.map((p, i) => (i === place ? (p.type.includes("[]") ? [thing] : thing) : argument(p.type)));
          const flat = own.flatMap((p, i) => (p.name.startsWith("...") ? (args[i] as unknown[]) : [args[i]]));
          const got = outcome(() => (F as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(...flat));
          expect(got, `${what} for ${own[place]!.name}: ${(got as Error).stack}`).toBeInstanceOf(ModelError);
          if (places.length === 1) expect((got as ModelError).message).toContain("must be a value, but got");
        }
    });
  }
});

// ------------------------------------------------------------------------------------------- layers and programs

const inputs = { x: [5, 2, 3] } as const;
const problemOf = (call: () => unknown): string => {
  const got = outcome(call);
  expect(got, String((got as Error)?.stack)).toBeInstanceOf(ModelError);
  return (got as ModelError).message;
};

class Calls extends nn.Module {
  readonly weight = nn.parameter([3], nn.init.zeros);
  readonly #body: (ctx: nn.Context, x: Value, weight: unknown) => unknown;
  constructor(body: (ctx: nn.Context, x: Value, weight: unknown) => unknown) {
    super();
    this.#body = body;
  }
  forward(ctx: nn.Context, x: Value): Value {
    return this.#body(ctx, x, this.weight) as Value;
  }
}

/** Hands all that its recurrent layer gives to the next one. */
class Passing extends nn.Module {
  readonly recurrent = nn.LSTM(3, 4);
  readonly next: nn.Layer;
  constructor(next: nn.Layer) {
    super();
    this.next = next;
  }
  forward(ctx: nn.Context, x: Value): Value {
    return this.next(ctx, this.recurrent(ctx, x) as unknown as Value);
  }
}

describe("a model that passes on what is no value", () => {
  const layers: readonly nn.Layer[] = [
    nn.Linear(4, 2),
    nn.ReLU(),
    nn.Softmax(),
    nn.Flatten(),
    nn.LayerNorm(4),
    nn.BatchNorm1d(4),
    nn.Conv1d(4, 2, 1),
    nn.MaxPool1d(2),
    nn.Residual(nn.Linear(4, 4)),
  ];
  for (const layer of layers) {
    it(`LSTM, then ${layer.constructor.name}: the layer is named, and that it got several values`, () => {
      const text = problemOf(() => toGraph(new Passing(layer), { inputs }));
      expect(text).toContain("next");
      expect(text).toContain("it holds several values");
    });
  }

  it("a variable", () => {
    const text = problemOf(() => toGraph(new Calls((_, x, w) => F.mul(x, w as Value)), { inputs }));
    expect(text).toContain("Calls");
    expect(text).toContain("ctx.value(variable)");
  });

  it("nothing", () => {
    for (const nothing of [undefined, null, [], {}, 3, "x"])
      expect(problemOf(() => toGraph(new Calls(() => nothing), { inputs }))).toContain("forward gives a value");
    expect(problemOf(() => toGraph(new Calls((_, x) => [x, undefined]), { inputs }))).toContain("output1");
  });

  it("a loss that is none", () => {
    for (const nothing of [undefined, 3, [value], variable]) {
      const options = { inputs: { x: [4, 3] }, targets: { y: [4, 2] }, loss: () => nothing as unknown as Value };
      const text = problemOf(() => trainStep(nn.Linear(3, 2), { ...options, optimizer: optim.SGD() }));
      expect(text).toMatch(/^loss: /m);
    }
    expect(losses.mse()(value, value).type.shape).toEqual([]);
  });
});

it("numbers with a fraction are refused for every dtype that would lose it", () => {
  for (const dtype of computeDtypes) {
    const x = param("x", { dtype, shape: [2] });
    const all = [
      () => F.add(x, 0.5),
      () => F.sub(0.5, x),
      () => F.where(key, x, 0.5),
      () => F.fullLike(x, 0.5),
      () => F.lt(x, 0.5),
    ];
    for (const call of all.slice(dtype === "bool" ? 2 : 0, dtype === "bool" ? 4 : undefined)) {
      const got = outcome(call);
      if (isFloat(dtype)) expect(got).not.toBeInstanceOf(Error);
      else expect((got as ModelError).message).toContain(`0.5 is not a number of dtype ${dtype}`);
    }
  }
});
