import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F, losses, nn, optim, program, toGraph, trainStep } from "../../compiler/dsl/index.js";
import { exportOnnx } from "../../compiler/onnx/export/export.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { np, sum } from "../../ir/build.js";
import { type Graph, graphNodes, type Value } from "../../ir/graph.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { load, type Tensor } from "../../runtime/index.js";

const compiled = { variants: ["simd128"] } as const;
const numbers = (t: Tensor | number | undefined) => Array.from((t as Tensor).data as Float32Array, Number);
const close = (v: readonly number[]) => v.map((x) => expect.closeTo(x, 5));

const make = () =>
  nn.sequential({
    conv: nn.Conv2d(1, 3, 3),
    bn: nn.BatchNorm2d(3),
    act: nn.Tanh(),
    flat: nn.Flatten(),
    fc: nn.Linear(48, 2),
  });
const net = make().initialize(3);
const file = exportOnnx(toGraph(net, { inputs: { x: ["n", 1, 6, 6] }, outputs: ["logits"] }));
const x = Float32Array.from({ length: 72 }, (_, i) => Math.sin(i * 1.3));

/** The name of the node that flattens, as the file has it. */
const trunkName = (g: Graph): string =>
  graphNodes(g).findLast((n) => n.op === "reshape" && n.results[0]!.type.shape[1] === 48)!.loc!;

class Places extends nn.Module {
  forward(ctx: nn.Context, v: Value): Value {
    return F.nonzero(ctx, v);
  }
}

describe("a graph as a module", () => {
  it("computes what the graph does, at sizes of other names, twice in one entry", async () => {
    const trunk = nn.fromGraph(importOnnx(file));
    const p = program(
      { trunk, net },
      {
        both: {
          inputs: { x: ["batch", 1, 6, 6] },
          training: false,
          run: (ctx, { x: v }) => ({
            a: trunk(ctx, v),
            b: np.add(trunk(ctx, np.mul(v, 2)), 0),
            want: net(ctx, v),
            want2: net(ctx, np.mul(v, 2)),
          }),
        },
      },
    );
    const session = await load(await compile(p, compiled));
    const { a, b, want, want2 } = await session.both({ x });
    expect(numbers(a)).toEqual(close(numbers(want)));
    expect(numbers(b)).toEqual(close(numbers(want2)));
    session.dispose();
  });

  it("learns a new head on a frozen trunk, and names what it has", async () => {
    const graph = importOnnx(file);
    const inner = trunkName(graph);
    const trunk = nn.fromGraph(graph, { outputs: inner, frozen: true });
    expect([...trunk.variables().keys()].some((name) => name.startsWith("fc."))).toBe(false);
    const model = nn.sequential({ trunk, head: nn.Linear(48, 1) });
    const session = await load(
      await compile(
        trainStep(model, {
          inputs: { x: ["batch", 1, 6, 6] },
          targets: { y: ["batch", 1] },
          loss: losses.mse(),
          optimizer: optim.SGD({ lr: 0.1 }),
        }),
        compiled,
      ),
    );
    const before = session.state.map((s) => [s.name, numbers(session.getState(s.name))] as const);
    await session.step({ x, y: Float32Array.of(1, -1) });
    for (const [name, values] of before)
      if (name.startsWith("trunk.")) expect(numbers(session.getState(name)), name).toEqual(values);
    expect(numbers(session.getState("head.weight"))).not.toEqual(before.find(([n]) => n === "head.weight")![1]);
    session.dispose();
    expect(() => nn.fromGraph(graph, { outputs: "nothing" })).toThrow(
      /option outputs: the graph has no result and no node called "nothing"/,
    );
    expect(() => nn.fromGraph(graph, { frozn: true } as never)).toThrow(/frozn/);
  });

  it("gives gradients with respect to activations inside", async () => {
    const graph = importOnnx(file);
    const cam = nn.fromGraph(graph, { outputs: [trunkName(graph), "logits"], frozen: true });
    const p = program(cam, {
      cam: {
        inputs: { x: [2, 1, 6, 6] },
        run(ctx, { x: v }) {
          const { [trunkName(graph)]: inside, logits } = cam(ctx, v);
          const [d] = gradients(sum(logits!), [inside!]);
          return { inside: inside!, d: d! };
        },
      },
    });
    const session = await load(await compile(p, compiled));
    const { d } = await session.cam({ x });
    const w = numbers(session.getState("fc.weight"));
    const want = Array.from({ length: 48 }, (_, i) => w[i]! + w[48 + i]!);
    expect(numbers(d)).toEqual(close([...want, ...want]));
    session.dispose();
  });

  it("finds its sizes anew where it is applied again", async () => {
    const g = toGraph(new Places(), { inputs: { x: ["k"] } });
    const twice = nn.fromGraph(g);
    const p = program(twice, {
      go: {
        inputs: { x: ["k"] },
        run(ctx, { x: v }) {
          const a = twice(ctx, v);
          const b = twice(ctx, np.sub(v, 1));
          return { a, b };
        },
      },
    });
    const session = await load(await compile(p, compiled));
    const { a, b } = await session.go({ x: Float32Array.of(1, 0, 2, 1) });
    expect(Array.from((a as Tensor).data as BigInt64Array, Number)).toEqual([0, 2, 3]);
    expect(Array.from((b as Tensor).data as BigInt64Array, Number)).toEqual([1, 2]);
    session.dispose();
  });
});

describe("exportOnnx of an entry with state", () => {
  it("writes it as past and present", async () => {
    const cache = nn.buffer([2], nn.init.zeros);
    const p = program(
      { cache },
      {
        add: {
          inputs: { x: [2] },
          run(ctx, { x: v }) {
            ctx.update(cache, np.add(ctx.value(cache), v));
            return { y: np.mul(ctx.value(cache), 2) };
          },
        },
      },
    );
    const session = await load(await compile(importOnnx(exportOnnx(p, { entry: "add" })), compiled));
    expect(session.inputs.map((i) => i.name)).toEqual(["past.cache", "x"]);
    const out = await session.run({ x: Float32Array.of(1, 2), "past.cache": Float32Array.of(10, 20) });
    expect(numbers(out["present.cache"])).toEqual([11, 22]);
    expect(numbers(out.y)).toEqual([22, 44]);
    session.dispose();
  });
});
