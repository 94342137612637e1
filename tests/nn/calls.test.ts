/** Modules are functions of a context and values; inputs as text; sizes as operands. */

import { describe, expect, it } from "vitest";
import { compile, F, nn, printGraph, program, tensorFrom, toGraph, type Value } from "../../index.js";
import { load } from "../../runtime/index.js";

class Net extends nn.Module {
  override readonly name = "net";
  override readonly length = 3;
  readonly fc = nn.Linear(4, 3);
  forward(ctx: nn.Context, x: Value) {
    return this.fc(ctx, x).relu();
  }
}

describe("a module is a function", () => {
  const inputs = { x: ["n", 4] } as const;

  it("that builds what apply builds", () => {
    class Applied extends Net {
      override forward(ctx: nn.Context, x: Value) {
        return this.fc.apply(ctx, x).relu();
      }
    }
    const text = (m: Net) => printGraph(toGraph(m, { inputs, name: "g", weights: "params" }));
    expect(text(new Net())).toBe(text(new Applied()));
  });

  it("with properties of its own, also such as functions have", () => {
    const net = new Net();
    expect([typeof net, net.name, net.length, net instanceof Net]).toEqual(["function", "net", 3, true]);
    expect([...net.parameters().keys()]).toEqual(["fc.weight", "fc.bias"]);
    class Assigned extends nn.Module {
      constructor() {
        super();
        Object.assign(this, { name: nn.Linear(2, 2) });
      }
      forward(_: nn.Context, x: Value) {
        return x;
      }
    }
    expect([...new Assigned().parameters().keys()]).toEqual(["name.weight", "name.bias"]);
  });

  it("that says so where the context is forgotten", () => {
    class Forgetful extends Net {
      override forward(_: nn.Context, x: Value) {
        return (this.fc as unknown as (x: Value) => Value)(x);
      }
    }
    expect(() => toGraph(new Forgetful(), { inputs })).toThrow(/LinearLayer.*called with the context first/);
  });

  it("that is no value", () => {
    class Raw extends Net {
      override forward(_: nn.Context, x: Value) {
        return F.add(x, this.fc as unknown as Value);
      }
    }
    expect(() => toGraph(new Raw(), { inputs })).toThrow(/got LinearLayer.*\n?.*module\(ctx, x\)/);
  });
});

describe("inputs as text", () => {
  it.each(["i64[n,5]", " i64 [ n , 5 ] "] as const)("%s", (text) => {
    const types = (x: `i64[${string}]` | { dtype: "i64"; shape: (string | number)[] }) =>
      program(
        { table: nn.buffer([1], nn.init.zeros) },
        { main: { inputs: { x }, run: (_, v) => v.x.add(1) } },
      ).entries.main!.params.map((p) => `${p.type.dtype} ${String(p.type.shape[0])} ${p.type.shape.length}`);
    expect(types(text as "i64[n,5]").length).toBe(1);
    expect(types(text as "i64[n,5]")[0]).toBe(types({ dtype: "i64", shape: ["n", 5] })[0]);
  });

  it("of no axes", () => {
    const made = program(
      { b: nn.buffer([1], nn.init.zeros) },
      { main: { inputs: { x: "f64[]" }, run: (_, { x }) => x.neg() } },
    );
    expect(made.entries.main!.params[0]!.type).toEqual({ dtype: "f64", shape: [] });
  });

  it.each(["i64", "i64[n,]", "i64[,]", "i64[n-1]", "f99[n]", "[n]", ""])("%s is none", (text) => {
    const build = () =>
      program({ b: nn.buffer([1], nn.init.zeros) }, { main: { inputs: { x: text as "f32[]" }, run: (_, { x }) => x } });
    expect(build).toThrow(/x: /);
  });
});

it("sizes are operands", async () => {
  const made = program(
    { b: nn.buffer([1], nn.init.zeros) },
    {
      main: {
        inputs: { x: ["n", 2], k: "i64[n]" },
        run: (_, { x, k }) => ({
          mean: x.sum(0).div(x.shape[0]!),
          rest: F.sub(x.shape[0]!, k),
          power: F.pow(x.shape[0]!, x.select(1, 0)),
        }),
      },
    },
  );
  const session = await load(await compile(made));
  const feeds = { x: tensorFrom("f32", [3, 2], [1, 2, 3, 4, 5, 6]), k: tensorFrom("i64", [3], [0, 1, 2]) };
  const { mean, rest, power } = (await session.run(feeds as never, { entry: "main" })) as Record<
    string,
    { data: unknown }
  >;
  expect(mean!.data).toEqual(Float32Array.of(3, 4));
  expect(rest!.data).toEqual(BigInt64Array.of(3n, 2n, 1n));
  expect(power!.data).toEqual(Float32Array.of(3, 27, 243));
  session.dispose();
});
