/** What is computed once: that entries share it, that it is computed when it is needed, and that nobody reads what has become stale. */

import { describe, expect, it } from "vitest";
import { type Artifact, compile } from "../../compiler/compile.js";
import type { Step } from "../../compiler/schedule.js";
import { losses, nn, optim, program } from "../../index.js";
import { graph, param } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { add } from "../../ir/ops/elementwise.js";
import { gather } from "../../ir/ops/indexing.js";
import { tensorFrom } from "../../ir/tensor.js";
import { load, type Session, type Tensor } from "../../runtime/index.js";
import { seeded } from "../graph/random.js";
import { randomArray } from "../kernels/run.js";

const image = { dtype: "f32", shape: [1, 8, 16, 16] } as const;

/** With a convolution that is Winograd's, one that is not, and a product. */
const net = () =>
  nn.sequential({
    conv1: nn.Conv2d(8, 16, 3, { padding: 1 }),
    relu: nn.ReLU(),
    conv2: nn.Conv2d(16, 8, 3, { padding: 1, stride: 2 }),
    flatten: nn.Flatten(),
    fc: nn.Linear(8 * 8 * 8, 12),
  });

/** Two nets that learn from one another in turns, a third that follows, and entries that look at them. */
function duel() {
  const [a, b, target] = [net(), net(), net()];
  const inputs = { x: image };
  return program(
    { a, b, target },
    {
      stepA: {
        inputs,
        run: (ctx, { x }) => ({
          loss: ctx.minimize(
            losses.mse()(
              a(ctx, x),
              ctx.eval(() => b(ctx, x)),
            ),
            a,
            optim.SGD({ lr: 0.05 }),
          ),
        }),
      },
      stepB: {
        inputs,
        run: (ctx, { x }) => ({
          loss: ctx.minimize(losses.mse()(b(ctx, x).add(target(ctx, x)), a(ctx, x)), b, optim.SGD({ lr: 0.05 })),
        }),
      },
      follow: {
        inputs: {},
        run: (ctx) => {
          ctx.blend(target, a, 0.5);
        },
      },
      ofA: { inputs, run: (ctx, { x }) => ({ y: a(ctx, x) }) },
      ofAll: { inputs, run: (ctx, { x }) => ({ y: a(ctx, x).add(b(ctx, x)).add(target(ctx, x)) }) },
      alsoA: { inputs, run: (ctx, { x }) => ({ y: a(ctx, x.mul(2)) }) },
    },
  );
}

const onceIn = (a: Artifact, entry: string): readonly Step[] =>
  a.assembled.plans.find((p) => p.schedule.name === entry)!.schedule.steps.filter((s) => s.kind === "once");
const kernelsOf = (a: Artifact, entry: string) => a.manifest.entries[entry]!.steps.map((s) => s.kernel);
const x = (seed: number) => ({ x: new Float32Array(randomArray(8 * 16 * 16, seed)) });
const bytesOf = (t: Tensor) => Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength);
const entries = ["stepA", "stepB", "follow", "ofA", "ofAll", "alsoA"] as const;

describe("what is made of weights", () => {
  it("is made once, shared by the entries that need it, and by no entry that changes them", async () => {
    const artifact = await compile(duel(), { variants: ["simd128"] });
    for (const name of ["ofA", "alsoA", "ofAll", "stepA", "stepB"])
      expect(onceIn(artifact, name).length, name).toBeGreaterThan(0);
    expect(onceIn(artifact, "follow")).toEqual([]);
    expect(kernelsOf(artifact, "ofA").filter((k) => /_pack_panel|winograd_weights/.test(k))).toEqual([]);
    // a's own weights change in stepA.
    expect(kernelsOf(artifact, "stepA").filter((k) => /winograd_weights/.test(k))).not.toEqual([]);
    const places = (name: string) => onceIn(artifact, name).map((s) => (s.kind === "once" ? s.done.offset : -1));
    expect(places("alsoA")).toEqual(places("ofA"));
    expect(places("ofAll")).toEqual(expect.arrayContaining(places("ofA") as number[]));
  });

  it("is made in every run where memory must be small", async () => {
    const artifact = await compile(duel(), { variants: ["simd128"], weights: "small" });
    for (const name of entries) expect(onceIn(artifact, name)).toEqual([]);
    const { memory } = artifact.manifest;
    expect([memory.preparedFlags, memory.arenaOffset - memory.preparedOffset]).toEqual([0, 0]);
    expect(kernelsOf(artifact, "ofA").filter((k) => /winograd_weights/.test(k))).not.toEqual([]);
  });

  it("is made again when the weights have changed, by whatever way", { timeout: 120_000 }, async () => {
    const artifact = await compile(duel(), { variants: ["simd128", "simd128-threads"] });
    for (const threads of [1, 2]) {
      const session = await load(artifact, { threads });
      const fresh = await load(artifact, { threads: 1 });
      const saved = [await session.save()];
      const rng = seeded(7 + threads);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(rng() * list.length)]!;
      const weights = session.state.filter((s) => s.role === "param").map((s) => s.name);
      const changes: Readonly<Record<string, (s: Session) => unknown>> = {
        setState: (s) => {
          const name = pick(weights);
          const t = s.getState(name);
          s.setState(name, {
            ...t,
            data: new Float32Array(randomArray(t.data.length, Math.floor(rng() * 1e6))),
          } as Tensor);
        },
        clearState: (s) => s.clearState(pick(["a.conv1.", "b.fc.", "target."])),
        copyState: (s) => s.copyState(pick(["a.", "b."]), "target."),
        restore: (s) => s.restore(pick(saved)),
        loadSafetensors: async (s) =>
          s.loadSafetensors(await s.exportSafetensors(undefined, { prefix: "a." }), { prefix: "b." }),
        save: async (s) => saved.push(await s.save()),
      };
      for (let i = 0; i < 36; i++) {
        if (rng() < 0.35) await pick(Object.values(changes))(session);
        const entry = pick(entries);
        // A session that has made nothing yet must come to the same.
        const other = i % 2 === 0 ? fresh : await load(artifact, { threads: 1 });
        await other.restore(await session.save());
        const feeds = entry === "follow" ? {} : x(i);
        const [got, want] = [await session.run(feeds, { entry }), await other.run(feeds, { entry })];
        for (const [name, t] of Object.entries(want)) expect(bytesOf(got[name]!), `${i}: ${entry}`).toEqual(bytesOf(t));
        expect(Buffer.from(await session.exportSafetensors())).toEqual(Buffer.from(await other.exportSafetensors()));
        if (other !== fresh) other.dispose();
      }
      session.dispose();
      fresh.dispose();
    }
  });

  it("goes on where a run was left in the midst of it", async () => {
    const artifact = await compile(duel(), { variants: ["simd128"] });
    const [session, other] = [await load(artifact), await load(artifact)];
    const stopped = new AbortController();
    const run = session.run(x(1), { entry: "ofAll", signal: stopped.signal });
    stopped.abort();
    await expect(run).rejects.toThrow();
    const got = await session.run(x(1), { entry: "ofAll", signal: new AbortController().signal });
    expect(got).toEqual(await other.run(x(1), { entry: "ofAll" }));
    for (const row of await session.profile(x(1), { entry: "ofAll", repeat: 2 })) expect(row.kernel).not.toBe("");
    session.dispose();
    other.dispose();
  });
});

it("says in every run what is wrong with constants", async () => {
  const table = constant([], { value: tensorFrom("f32", [4], [1, 2, 3, 4]) });
  const many = Array.from({ length: 4096 }, (_, i) => (i === 4000 ? 4 : (i % 4) - 3));
  // Constants that are indices themselves are looked at when compiling.
  const three = constant([], {
    value: tensorFrom(
      "i32",
      [4096],
      Array.from(many, () => 3),
    ),
  });
  const indices = add([constant([], { value: tensorFrom("i32", [4096], many) }), three]);
  const x = param("x", { dtype: "f32", shape: [4096] });
  const g = graph("g", [x], [add([gather([table, indices], { axis: 0 }), x])], ["y"]);
  const artifact = await compile(g, { variants: ["simd128", "simd128-threads"], skipPasses: ["fold-constants"] });
  expect(onceIn(artifact, "main").length).toBe(1);
  for (const threads of [1, 2]) {
    const session = await load(artifact, { threads });
    for (let i = 0; i < 3; i++) await expect(session.run({ x: new Float32Array(4096) })).rejects.toThrow(/7/);
    session.dispose();
  }
});
