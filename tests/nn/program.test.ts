import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F, losses, nn, optim, program, toGraph, trainStep } from "../../compiler/dsl/index.js";
import { sessionNames } from "../../compiler/dsl/program.js";
import { asType, mean, np, square, sum } from "../../ir/build.js";
import type { Value } from "../../ir/graph.js";
import { tanh } from "../../ir/ops/elementwise.js";
import { randomUniform } from "../../ir/ops/random.js";
import { glueDeclarations } from "../../runtime/glue.js";
import { load, type Tensor, type TrainingSession } from "../../runtime/index.js";

const compiled = { variants: ["simd128"] } as const;
const numbers = (t: Tensor | number | undefined): number[] =>
  typeof t === "number" ? [t] : Array.from(t!.data as Float32Array, Number);
const uniform = (ctx: nn.Context, shape: readonly number[]): Value =>
  randomUniform([...ctx.random()], { dtype: "f32", shape, low: 0, high: 1 });

describe("a program", () => {
  it("learns with an optimiser for each set of parameters, and has a method for each entry", async () => {
    const G = nn.sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1));
    const D = nn.sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1));
    const gan = program(
      { G, D },
      {
        stepD: {
          inputs: { real: ["batch", 1], z: ["batch", 2] },
          run(ctx, { real, z }) {
            const loss = np.sub(mean(D(ctx, G(ctx, z))), mean(D(ctx, real)));
            return { loss: ctx.minimize(loss, D, optim.Adam({ lr: 1e-2 })) };
          },
        },
        stepG: {
          inputs: { z: ["batch", 2] },
          run(ctx, { z }) {
            const fake = G(ctx, z);
            return { loss: ctx.minimize(np.mul(mean(D(ctx, fake)), -1), G, optim.SGD({ lr: 1e-2 })), fake };
          },
        },
        sample: {
          inputs: { z: ["batch", 2] },
          run: (ctx, { z }) => ({ image: ctx.eval(() => G(ctx, z)) }),
        },
      },
    );
    expect(gan.training?.objectives.map((o) => [o.entry, o.name, o.learningRate])).toEqual([
      ["stepD", "stepD.optimizer", "stepD.optimizer.lr"],
      ["stepG", "stepG.optimizer", "stepG.optimizer.lr"],
    ]);
    expect(gan.training?.fit).toBeNull();
    const session = await load(await compile(gan, compiled));
    const z = Float32Array.of(1, 2, -1, 0.5);
    const before = new Map(session.state.map((s) => [s.name, numbers(session.getState(s.name))]));
    const changed = () =>
      session.state
        .filter((s) => String(before.get(s.name)) !== String(numbers(session.getState(s.name))))
        .map((s) => s.name);
    const { loss } = await session.stepD({ real: Float32Array.of(1, 2), z });
    expect(loss).toBeTypeOf("number");
    expect(changed().every((name) => name.startsWith("D.") || name.startsWith("stepD."))).toBe(true);
    expect(changed()).toContain("D.0.weight");
    for (const [name, v] of before) before.set(name, numbers(session.getState(name) ?? v));
    const { fake } = await session.stepG({ z });
    expect((fake as Tensor).shape).toEqual([2, 1]);
    expect(changed().every((name) => name.startsWith("G.") || name.startsWith("stepG."))).toBe(true);
    const { image } = await session.sample({ z });
    expect((image as Tensor).shape).toEqual([2, 1]);
    expect(session.entries.stepD!.inputs.map((i) => i.name)).toEqual(["real", "z"]);
    await expect(session.sample({} as never)).rejects.toThrow(/input "z": missing/);
    session.dispose();
  });

  it("copies and blends modules, swaps states, keeps buffers of its own", async () => {
    const online = nn.Linear(2, 1);
    const target = nn.Linear(2, 1);
    const average = nn.Linear(2, 1);
    const [a, b] = [nn.buffer([2], nn.init.zeros), nn.buffer([2], nn.init.ones)];
    const p = program(
      { online, target, average, a, b },
      {
        sync: { inputs: {}, run: (ctx) => ctx.copy(online, target) },
        follow: { inputs: {}, run: (ctx) => ctx.blend(online, average, 0.25) },
        swap: {
          inputs: { x: [2] },
          run(ctx, { x }) {
            const [va, vb] = [ctx.value(a), ctx.value(b)];
            ctx.update(a, vb);
            ctx.update(b, np.add(va, x));
            return { old: va };
          },
        },
      },
    );
    const session = await load(await compile(p, compiled));
    const weights = () => ["online", "target", "average"].map((m) => numbers(session.getState(`${m}.weight`)));
    const [o, , before] = weights();
    await session.sync({});
    expect(weights()[1]).toEqual(o);
    await session.follow({});
    expect(weights()[2]).toEqual(o!.map((v, i) => expect.closeTo(before![i]! + (v - before![i]!) / 4, 6)));
    expect(numbers((await session.swap({ x: Float32Array.of(5, 6) })).old)).toEqual([0, 0]);
    expect(numbers(session.getState("a"))).toEqual([1, 1]);
    expect(numbers(session.getState("b"))).toEqual([5, 6]);
    expect(numbers((await session.swap({ x: Float32Array.of(1, 1) })).old)).toEqual([1, 1]);
    expect(numbers(session.getState("a"))).toEqual([5, 6]);
    expect(numbers(session.getState("b"))).toEqual([2, 2]);
    session.clearState("a");
    expect(numbers(session.getState("a"))).toEqual([0, 0]);
    session.copyState("online.", "average.");
    expect(weights()[2]).toEqual(o);
    expect(() => session.copyState("onlin.", "target.")).toThrow("copyState: no state here takes any of it");
    expect(() => session.clearState("cache.")).toThrow(/no state begins with "cache\."/);
    session.dispose();
  });

  it("copies what two modules share where the target has more", async () => {
    const p = program(
      {
        small: nn.sequential({ fc: nn.Linear(2, 2) }),
        large: nn.sequential({ fc: nn.Linear(2, 2), head: nn.Linear(2, 1) }),
      },
      { get: { inputs: {}, run: (ctx) => ({ one: F.add(uniform(ctx, [1]), 0) }) } },
    );
    const session = await load(await compile(p, compiled));
    const head = numbers(session.getState("large.head.weight"));
    session.copyState("small.", "large.");
    expect(numbers(session.getState("large.fc.weight"))).toEqual(numbers(session.getState("small.fc.weight")));
    expect(numbers(session.getState("large.head.weight"))).toEqual(head);
    session.dispose();
  });

  it("draws other numbers in each run, entry and round, and the same from the same checkpoint", async () => {
    const p = program(nn.Linear(1, 1), {
      draw: { inputs: {}, run: (ctx) => ({ x: uniform(ctx, [4]), y: uniform(ctx, [4]) }) },
      other: { inputs: {}, run: (ctx) => ({ x: uniform(ctx, [4]) }) },
      rounds: {
        inputs: {},
        run: (ctx) => ({
          x: F.scan(() => [[], uniform(ctx, [4])], [], undefined, { length: 3 })[1],
        }),
      },
    });
    const session = await load(await compile(p, compiled));
    const seen = new Set<number>();
    const saved = await session.save();
    const all = async () => {
      const { x, y } = await session.draw({});
      const more = [...numbers((await session.other({})).x), ...numbers((await session.rounds({})).x)];
      return [...numbers(x), ...numbers(y), ...more, ...numbers((await session.rounds({})).x)];
    };
    const first = await all();
    for (const v of first) seen.add(v);
    expect(seen.size).toBe(first.length);
    expect(await all()).not.toEqual(first);
    await session.restore(saved);
    expect(await all()).toEqual(first);
    session.dispose();
  });

  it("trains batch norms inside loops", async () => {
    const bn = nn.BatchNorm1d(2);
    const p = program(
      { bn },
      {
        run3: {
          inputs: { x: [3, 4, 2] },
          run(ctx, { x }) {
            return { y: F.scan((_, row) => [[], bn(ctx, row)], [], x)[1] };
          },
        },
        one: { inputs: { x: [4, 2] }, run: (ctx, { x }) => ({ y: bn(ctx, x) }) },
      },
    );
    const artifact = await compile(p, compiled);
    const [looped, single] = [await load(artifact), await load(artifact)];
    const x = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i * 3) * 4);
    const { y } = await looped.run3({ x });
    const want: number[] = [];
    for (let i = 0; i < 3; i++) want.push(...numbers((await single.one({ x: x.slice(8 * i, 8 * i + 8) })).y));
    expect(numbers(y)).toEqual(want.map((v) => expect.closeTo(v, 5)));
    for (const name of ["bn.running_mean", "bn.running_var"])
      expect(numbers(looped.getState(name))).toEqual(numbers(single.getState(name)).map((v) => expect.closeTo(v, 6)));
    expect(numbers(looped.getState("bn.running_mean"))).not.toEqual([0, 0]);
    looped.dispose();
    single.dispose();
  });

  it("hands weights to an inference session, whole and in parts", async () => {
    const make = () => ({ body: nn.Linear(2, 3), head: nn.Linear(3, 1) });
    const trained = make();
    const forward = (m: ReturnType<typeof make>, ctx: nn.Context, x: Value) => m.head(ctx, tanh([m.body(ctx, x)]));
    const learning = await load(
      await compile(
        program(trained, {
          step: {
            inputs: { x: ["batch", 2] },
            run: (ctx, { x }) => ({
              loss: ctx.minimize(
                mean(square(forward(trained, ctx, x))),
                Object.values(trained),
                optim.SGD({ lr: 0.1 }),
              ),
            }),
          },
        }),
        compiled,
      ),
    );
    await learning.step({ x: Float32Array.of(1, 2) });
    const served = make();
    const serving = await compile(
      program(served, { main: { inputs: { x: ["batch", 2] }, run: (ctx, { x }) => forward(served, ctx, x) } }),
      compiled,
    );
    const session = await load(serving, { weightsFrom: learning });
    expect(session.getState("head.weight")).toEqual(learning.getState("head.weight"));
    const file = await learning.exportSafetensors(undefined, { prefix: "head." });
    const other = await load(serving);
    const before = other.getState("body.weight");
    await other.loadSafetensors(file, { prefix: "head." });
    expect(other.getState("head.weight")).toEqual(learning.getState("head.weight"));
    expect(other.getState("body.weight")).toEqual(before);
    for (const s of [learning, session, other]) s.dispose();
  });

  it("fits by its entry step, and goes on from a checkpoint in the midst of an epoch", async () => {
    const net = nn.sequential(nn.Linear(2, 4), nn.Dropout(0.2), nn.Linear(4, 1));
    const p = program(net, {
      step: {
        inputs: { x: ["batch", 2], y: ["batch", 1] },
        run(ctx, { x, y }) {
          const loss = losses.mse()(net(ctx, x), y);
          return { loss: ctx.minimize(loss, net, optim.Adam()), size: asType(sum(square(y)), "f32") };
        },
      },
      predict: { inputs: { x: ["batch", 2] }, training: false, run: (ctx, { x }) => net(ctx, x) },
    });
    expect(p.training?.fit).toEqual({
      step: "step",
      evaluate: null,
      predict: "predict",
      loss: "loss",
      metrics: ["size"],
      streamed: null,
      batch: "batch",
    });
    const artifact = await compile(p, compiled);
    const data = {
      x: Float32Array.from({ length: 60 }, (_, i) => Math.sin(i)),
      y: Float32Array.from({ length: 30 }, (_, i) => Math.cos(i)),
    };
    const whole = (await load(artifact)) as unknown as TrainingSession;
    const history = await whole.fit(data, { epochs: 4, batchSize: 8 });
    const first = (await load(artifact)) as unknown as TrainingSession;
    let saved: Uint8Array | undefined;
    await first.fit(data, {
      epochs: 4,
      batchSize: 8,
      callbacks: {
        onBatch: async ({ epoch, batch }) => {
          if (epoch !== 1 || batch !== 2) return true;
          saved = await first.save();
          return false;
        },
      },
    });
    const second = (await load(artifact)) as unknown as TrainingSession;
    await second.restore(saved!);
    const rest = await second.fit(data, { epochs: 4 });
    expect(await second.save()).toEqual(await whole.save());
    expect(rest.map(({ seconds: _, ...e }) => e)).toEqual(history.slice(1).map(({ seconds: _, ...e }) => e));
    await second.restore(saved!);
    await expect(second.fit(data, { epochs: 4, batchSize: 4 })).rejects.toThrow(
      /option batchSize: 4, but the run .* had 8/,
    );
    const damaged = saved!.slice();
    damaged[damaged.length - 1]! ^= 1;
    await expect(second.restore(damaged)).rejects.toThrow(/checkpoint: its contents do not have its checksum/);
    for (const s of [whole, first, second]) s.dispose();
  });

  it("says what does not fit", () => {
    const net = nn.Linear(2, 1);
    const inputs = { x: ["n", 2] } as const;
    const build = (run: (ctx: never, values: { x: Value }) => unknown, name = "go") =>
      program({ net }, { [name]: { inputs, run } } as never);
    expect(() => build(() => ({}))).toThrow(/a model's forward gives a value/);
    expect(() => build((_, { x }) => x, "save")).toThrow(/entry "save": sessions have a member of this name/);
    expect(() => build(() => undefined)).toThrow(/gives nothing and changes nothing/);
    expect(() => program({ net: 3 } as never, {})).toThrow(/net: a program takes modules/);
    expect(() => program({ net }, { go: { input: inputs, run: () => undefined } } as never)).toThrow(/"?input"?/);
    expect(() =>
      build((ctx: nn.Context & { minimize: (...a: unknown[]) => Value }, { x }) =>
        ctx.minimize(mean(x), net, optim.SGD()),
      ),
    ).toThrow(/the loss depends on none of the parameters/);
    expect(() => build((ctx: nn.Context, { x }) => nn.Linear(2, 1)(ctx, x))).toThrow(/does not belong to the model/);
    expect(() => build((_, { x }) => ({ "net.weight": x }))).toThrow(
      /a state of the program is called "net\.weight" too/,
    );
  });

  it("gives what an entry called step returns, tensors too", async () => {
    const net = nn.Linear(2, 3);
    const p = program(net, {
      step: {
        inputs: { x: ["n", 2] },
        run(ctx, { x }) {
          const y = net(ctx, x);
          const norm = y.square().mean();
          return {
            y,
            loss: ctx.minimize(norm, net, optim.SGD({ lr: 0 })),
            norm,
            count: F.size(y, 0),
            best: y.argMax(1),
          };
        },
      },
    });
    const artifact = await compile(p, compiled);
    const glue = glueDeclarations(artifact.manifest);
    expect(glue).toMatch(/import type \{ TrainingSession, LoadOptions, Feeds, Results, Measures \}/);
    expect(glue).toMatch(
      /Model = \{ step\(feeds: Batch\): Promise<Measures & \{[^}]*"y": Tensor<"f32"[^}]*\}> \} & TrainingSession<Feeds, Results, Batch>;/,
    );
    expect(glue).not.toContain('"norm"');
    const session = await load(artifact);
    const x = Float32Array.of(1, 2, 3, 4);
    const { loss, metrics, y, count, best } = await session.step({ x });
    expect(Object.keys(metrics)).toEqual(["norm"]);
    expect(metrics.norm).toBe(loss);
    expect(y!.shape).toEqual([2, 3]);
    expect(numbers(y).reduce((a, v) => a + v * v, 0) / 6).toBeCloseTo(loss, 5);
    expect([count!.dtype, count!.data[0], best!.dtype, best!.shape]).toEqual(["i64", 2n, "i64", [2]]);
    const [epoch] = await session.fit({ x }, { progress: false });
    expect(epoch!.loss).toBeCloseTo(loss, 6);
    session.dispose();
  });

  it("makes no gradient of a branch outside of it to look whether it is finite", () => {
    const net = nn.Linear(2, 1);
    const build = (always: boolean) =>
      program(net, {
        step: {
          inputs: { x: ["n", 2] },
          run(ctx, { x }) {
            const loss = net(ctx, x).square().mean();
            const learn = () => ctx.minimize(loss, net, optim.SGD({ lr: 0.1 }));
            if (always) learn();
            else
              F.cond(
                loss.gt(0),
                () => learn(),
                () => loss,
              );
            return { loss };
          },
        },
      }).entries.step!.resultNames;
    expect(build(true)).toContain("finite.gradients");
    expect(build(false)).not.toContain("finite.gradients");
  });

  it("says where weights would be taken by nothing", async () => {
    const net = nn.Linear(2, 1);
    const trained = await load(
      await compile(program(net, { main: { inputs: { x: ["n", 2] }, run: (ctx, { x }) => net(ctx, x) } })),
    );
    const fixed = await compile(toGraph(net, { inputs: { x: ["n", 2] } }), compiled);
    const session = await load(fixed);
    const message = /no state here takes any of it\n.*program\(net/;
    await expect(load(fixed, { weightsFrom: trained as never })).rejects.toThrow(message);
    expect(() => session.copyState(trained as never)).toThrow(message);
    const file = await trained.exportSafetensors();
    await expect(session.loadSafetensors(file)).rejects.toThrow(message);
    const other = await load(
      await compile(program({ net }, { main: { inputs: { x: ["n", 2] }, run: (ctx, { x }) => net(ctx, x) } })),
    );
    await expect(other.loadSafetensors(file, { partial: true })).rejects.toThrow(message);
    await other.loadSafetensors(file, { prefix: "net." });
    for (const s of [trained, session, other]) s.dispose();
  });

  it("keeps its entries' names apart from the members of sessions", async () => {
    const net = nn.Linear(2, 1);
    const step = trainStep(net, {
      inputs: { x: ["n", 2] },
      targets: { y: ["n", 1] },
      loss: losses.mse(),
      optimizer: optim.SGD({ lr: 0.1 }),
    });
    const session = await load(await compile(step, compiled));
    const members = new Set<string>();
    for (let o: object = session; o !== Object.prototype; o = Object.getPrototypeOf(o))
      for (const name of Object.getOwnPropertyNames(o)) if (!Object.hasOwn(step.entries, name)) members.add(name);
    for (const name of [...members, ...Object.getOwnPropertyNames(Object.prototype)])
      expect(() => program(net, { [name]: { inputs: {}, run: () => F.zeros([1]) } }), name).toThrow(
        /sessions have a member of this name|whose name is an identifier/,
      );
    members.delete("constructor");
    expect([...sessionNames].sort()).toEqual([...members, "then"].sort());
    session.dispose();
  });
});

describe("metrics of the whole data", () => {
  it("are right however it is cut into batches", async () => {
    const net = nn.Linear(1, 1);
    const artifact = await compile(
      trainStep(net, {
        inputs: { x: ["batch", 1] },
        targets: { y: ["batch", 1] },
        loss: losses.mse(),
        optimizer: optim.SGD({ lr: 0 }),
        metrics: {
          rmse: {
            slots: { squares: [], count: [] },
            update: (output: Value, y) => ({
              squares: sum(square(np.sub(output, y!))),
              count: sum(np.add(np.mul(y!, 0), 1)),
            }),
            result: ({ squares, count }) => np.pow(np.div(squares!, count!), 0.5),
          },
        },
      }),
      compiled,
    );
    const session = await load(artifact);
    const x = Float32Array.from({ length: 10 }, (_, i) => i);
    const y = Float32Array.from({ length: 10 }, (_, i) => i * i);
    const whole = await session.evaluate({ x, y }, { batchSize: 10 });
    const parts = await session.evaluate({ x, y }, { batchSize: 3 });
    expect(whole.metrics.rmse).toBeCloseTo(Math.sqrt(whole.loss), 4);
    expect(parts.metrics.rmse).toBeCloseTo(whole.metrics.rmse!, 4);
    const [epoch] = await session.fit({ x, y }, { batchSize: 3 });
    expect(epoch!.metrics.rmse).toBeCloseTo(whole.metrics.rmse!, 4);
    session.dispose();
  });
});
