/** State that changes in branches: only the branch taken does anything, and what it changes is changed where it lies. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F, losses, nn, optim, program, trainStep } from "../../compiler/dsl/index.js";
import { KernelPool } from "../../compiler/lower/core/kernel-builder.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { allBuffers, placeStateResults } from "../../compiler/plan/state.js";
import type { Program } from "../../compiler/program.js";
import { forEachStep, type IfStep, type Schedule } from "../../compiler/schedule.js";
import type { Value } from "../../ir/graph.js";
import { zeros } from "../../ir/tensor.js";
import { runPipeline } from "../../passes/pipeline.js";
import { load, type Tensor } from "../../runtime/index.js";

const compiled = { variants: ["simd128"] } as const;
const listOf = (t: Tensor | number | undefined): number[] => Array.from((t as Tensor).data as Float32Array, Number);

function placed(p: Program, entry: string): Schedule {
  const g = runPipeline(defaultPipeline, p.entries[entry]!);
  return placeStateResults(lowerGraph(g, { pool: new KernelPool(), state: new Set(p.state.map((s) => s.name)) }));
}

function onlyIf({ steps }: Schedule): IfStep {
  const found = steps.filter((s) => s.kind === "if");
  expect(found).toHaveLength(1);
  return found[0] as IfStep;
}

const copies = (s: Schedule) => {
  let n = 0;
  forEachStep(s.steps, (step) => {
    n += Number(step.kind === "copy");
  });
  return n;
};

const network = () => nn.sequential(nn.Linear(24, 32), nn.Tanh(), nn.Linear(32, 5));
const batch = (k: number) => ({
  x: Float32Array.from({ length: 4 * 24 }, (_, i) => Math.sin(i * (k + 1))),
  y: Int32Array.from({ length: 4 }, (_, i) => (i + k) % 5),
});
const described = { inputs: { x: [4, 24] }, targets: { y: { dtype: "i32", shape: [4] } } } as const;

describe("updates from several batches", () => {
  it.each([
    ["Adam", optim.Adam({ lr: 0.01 })],
    ["SGD", optim.SGD({ lr: 0.1, momentum: 0.9 })],
    ["RMSprop with averages", optim.averaged(optim.RMSprop({ lr: 0.01 }))],
  ])("%s runs with the last of them only, over its states", async (_, optimizer) => {
    const options = { ...described, loss: losses.crossEntropy(), optimizer, clip: optim.clipNorm(1) };
    // Where `fit` looks at gradients before anything changes, they are kept until then.
    const several = trainStep(network(), { ...options, accumulate: 3, checkGradients: false });
    const schedule = placed(several, "step");
    const decision = onlyIf(schedule);
    expect(decision.else).toEqual([]);
    expect(decision.then.length).toBeGreaterThan(8);
    expect(copies({ ...schedule, steps: decision.then })).toBeLessThanOrEqual(1);
    // Gradients are added up where they are kept; none lies elsewhere.
    const weights = allBuffers(schedule).filter((b) => b.source.kind === "temp" && b.shape.join() === "32,24");
    expect(weights).toEqual([]);

    const once = trainStep(network(), {
      ...options,
      inputs: { x: [12, 24] },
      targets: { y: { dtype: "i32", shape: [12] } },
    });
    const [a, b] = [await load(await compile(several, compiled)), await load(await compile(once, compiled))];
    for (const name of ["0.weight", "0.bias", "2.weight", "2.bias"])
      b.setState(name, a.getState(name).data as Float32Array);
    const bytes: number[] = [];
    for (let round = 0; round < 4; round++) {
      const parts = [0, 1, 2].map((k) => batch(3 * round + k));
      for (const part of parts) {
        await a.step(part);
        bytes.push(a.memoryBytes);
      }
      await b.step({
        x: Float32Array.from(parts.flatMap((p) => [...p.x])),
        y: Int32Array.from(parts.flatMap((p) => [...p.y])),
      });
      for (const name of ["0.weight", "2.bias"]) {
        const [got, want] = [listOf(a.getState(name)), listOf(b.getState(name))];
        for (const [i, v] of got.entries()) expect(Math.abs(v - want[i]!)).toBeLessThan(2e-5);
      }
    }
    expect(new Set(bytes).size).toBe(1);
    a.dispose();
    b.dispose();
  });
});

describe("state changed in a branch", () => {
  const scalar = (v: number) => F.full([], v);

  it("learns and counts where the branch is taken, which sees what it changed; else all stays", async () => {
    const net = nn.Linear(3, 1);
    const [seen, last] = [nn.buffer([], nn.init.zeros), nn.buffer([3], nn.init.zeros)];
    const p = program(
      { net, seen, last },
      {
        learn: {
          inputs: { x: [2, 3], due: "bool[]" },
          run(ctx, { x, due }) {
            const loss = F.cond(
              due,
              () => {
                ctx.update(seen, ctx.value(seen).add(1));
                ctx.update(last, F.mean(x, 0));
                ctx.update(last, ctx.value(last).mul(ctx.value(seen)));
                return ctx.minimize(F.mean(F.square(net(ctx, x))), net, optim.SGD({ lr: 0.1, momentum: 0.9 }));
              },
              () => scalar(0),
            );
            return { loss, bias: ctx.value(net.bias!).mul(1), count: ctx.value(seen).add(0) };
          },
        },
      },
    );
    expect(copies({ ...placed(p, "learn"), steps: onlyIf(placed(p, "learn")).else })).toBeLessThanOrEqual(1);
    const session = await load(await compile(p, compiled));
    const x = Float32Array.of(1, 2, 3, -1, 0, 5);
    const all = () => session.state.map((s) => String(listOf(session.getState(s.name))));
    const before = all();
    const idle = await session.learn({ x, due: Uint8Array.of(0) });
    expect(all()).toEqual(before);
    expect(idle.loss).toBe(0);
    let [w, b] = [listOf(session.getState("net.weight")), listOf(session.getState("net.bias"))[0]!];
    let [dw, db] = [[0, 0, 0], 0];
    for (let round = 1; round <= 3; round++) {
      const rows = [x.slice(0, 3), x.slice(3)];
      const y = rows.map((r) => r.reduce((sum, v, i) => sum + v * w[i]!, b));
      dw = dw.map((m, i) => 0.9 * m + rows.reduce((sum, r, k) => sum + y[k]! * r[i]!, 0));
      db = 0.9 * db + y[0]! + y[1]!;
      w = w.map((v, i) => v - 0.1 * dw[i]!);
      b -= 0.1 * db;
      const { loss, bias, count } = await session.learn({ x, due: Uint8Array.of(1) });
      expect(loss as number).toBeCloseTo((y[0]! ** 2 + y[1]! ** 2) / 2, 3);
      expect(listOf(bias)[0]).toBeCloseTo(b, 4);
      expect(count).toBe(round);
      for (const [i, v] of listOf(session.getState("net.weight")).entries()) expect(v).toBeCloseTo(w[i]!, 4);
      expect(listOf(session.getState("last"))).toEqual([0, round, 4 * round]);
      await session.learn({ x, due: Uint8Array.of(0) });
    }
    session.dispose();
  });

  it("changes what both branches, or branches within branches, change", async () => {
    const [a, b] = [nn.buffer([4], nn.init.zeros), nn.buffer([4], nn.init.ones)];
    const p = program(
      { a, b },
      {
        learn: {
          inputs: { outer: "bool[]", inner: "bool[]" },
          run(ctx, { outer, inner }) {
            const before = ctx.value(a).add(0);
            F.cond(
              outer,
              () => {
                // They change places.
                const [x, y] = [ctx.value(a), ctx.value(b)];
                ctx.update(a, y);
                ctx.update(b, x);
                return [];
              },
              () => {
                F.cond(
                  inner,
                  () => {
                    ctx.update(a, ctx.value(a).add(10));
                    return [];
                  },
                  () => [],
                );
                ctx.update(b, ctx.value(a).mul(2));
                return [];
              },
            );
            return { before, after: ctx.value(a).add(0) };
          },
        },
      },
    );
    const session = await load(await compile(p, compiled));
    let [x, y] = [0, 1];
    for (const [outer, inner] of [
      [1, 0],
      [0, 1],
      [0, 0],
      [1, 1],
      [0, 1],
    ] as const) {
      const was = x;
      if (outer) [x, y] = [y, x];
      else {
        if (inner) x += 10;
        y = 2 * x;
      }
      const out = await session.learn({ outer: Uint8Array.of(outer), inner: Uint8Array.of(inner) });
      expect([listOf(out.before)[3], listOf(out.after)[3]]).toEqual([was, x]);
      expect([listOf(session.getState("a"))[3], listOf(session.getState("b"))[3]]).toEqual([x, y]);
    }
    session.dispose();
  });

  it("refuses to learn in a loop", () => {
    const net = nn.Linear(3, 1);
    const build = () =>
      program(net, {
        step: {
          inputs: { x: [4, 3] },
          run(ctx, { x }) {
            const [total] = F.scan(
              (sum: Value, row: Value) => {
                ctx.keep("rounds", "counter", zeros("f32", [])).value = sum;
                return [F.add(sum, F.sum(row)), []] as const;
              },
              F.full([], 0),
              x,
            );
            return { total };
          },
        },
      });
    expect(build).toThrow(/rounds: a state is changed inside a loop/);
  });
});

it("gives what a branch leaves in a state, also where another branch writes over it", async () => {
  const [a, b] = [nn.buffer([1], nn.init.ones), nn.buffer([1], nn.init.ones)];
  const p = program(
    { a, b },
    {
      learn: {
        inputs: { x: [3, 1] },
        run(ctx, { x }) {
          const least = x.amin(0, true).reshape([1]);
          const next = F.cond(
            least.squeeze(0).gt(0),
            () => least,
            () => ctx.value(b),
          );
          ctx.update(a, next);
          return { least };
        },
      },
    },
  );
  const session = await load(await compile(p, compiled));
  for (const x of [
    [3, 2, 4],
    [-3, 2, 4],
  ]) {
    const { least } = await session.learn({ x: Float32Array.from(x) });
    expect(listOf(least)).toEqual([Math.min(...x)]);
    expect(listOf(session.getState("a"))).toEqual([x[0]! > 0 ? 2 : listOf(session.getState("b"))[0]]);
  }
  session.dispose();
});
