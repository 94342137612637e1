/** What `fit` guards its users against: losses that are not finite, indices out of range. State is as it was before the batch. */
import { beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F, losses, nn, optim, trainStep } from "../../compiler/dsl/index.js";
import type { Value } from "../../ir/graph.js";
import { load, type TrainingArtifact, type TrainingSession } from "../../runtime/index.js";

const count = 40;
const x = Float32Array.from({ length: count * 4 }, (_, i) => 1.5 + Math.sin(i * 1.7));
const y = Float32Array.from({ length: count }, (_, i) => x[4 * i]! - x[4 * i + 1]!);
const quiet = { progress: false, shuffle: false, batchSize: 8 } as const;

let artifact: TrainingArtifact;
beforeAll(async () => {
  // Through log, a value below 0 becomes NaN; through exp, a large one infinity.
  const model = nn.sequential({
    log: nn.Lambda((v) => F.log(v)),
    fc1: nn.Linear(4, 8),
    norm: nn.BatchNorm1d(8),
    drop: nn.Dropout(0.25),
    exp: nn.Lambda((v) => F.exp(v)),
    fc2: nn.Linear(8, 1),
    flat: nn.Flatten(0),
  });
  artifact = (await compile(
    trainStep(model, {
      inputs: { x: ["batch", 4] },
      targets: { y: ["batch"] },
      loss: losses.mse(),
      optimizer: optim.Adam({ lr: 0.01 }),
    }),
  )) as unknown as TrainingArtifact;
});

const changed = (data: Float32Array, at: number, value: number): Float32Array => {
  const copy = data.slice();
  copy[at] = value;
  return copy;
};

describe.each([1, 2])("fit with %i threads stops at a loss that is not finite", (threads) => {
  const start = async (): Promise<TrainingSession> => load<TrainingSession>(artifact, { threads });

  /** State as it is when the batches before the bad one are done. */
  async function expectStop(
    session: TrainingSession,
    data: { readonly x: Float32Array; readonly y: Float32Array },
    batches: number,
    message: RegExp,
  ): Promise<void> {
    const good = await start();
    good.copyState(session as never);
    const size = quiet.batchSize;
    for (let i = 0; i < batches; i++)
      await good.step({ x: data.x.slice(i * size * 4, (i + 1) * size * 4), y: data.y.slice(i * size, (i + 1) * size) });
    await expect(session.fit(data, quiet)).rejects.toThrow(message);
    expect(await session.save()).toEqual(await good.save());
    good.dispose();
  }

  it("in the data", async () => {
    const session = await start();
    await expectStop(
      session,
      { x: changed(x, 70, Number.NaN), y },
      2,
      /^epoch 0, batch 2: the loss is NaN: input "x" holds NaN or infinities, the first at \[1, 2\]\n {2}→ mend the data/,
    );
    await expectStop(
      session,
      { x, y: changed(y, 39, Number.POSITIVE_INFINITY) },
      4,
      /^epoch 0, batch 4: the loss is Infinity: input "y" .* \[7\]/,
    );
    expect((await session.fit({ x, y }, quiet))[0]!.loss).toBeGreaterThan(0);
    session.dispose();
  });

  it("in a layer", async () => {
    const session = await start();
    await expectStop(
      session,
      { x: changed(x, 33, -1), y },
      1,
      /^epoch 0, batch 1: the loss is NaN: NaN first appeared in "log" \(step \d+ of \d+, \w+\)\n {2}→ all state is as it was/,
    );
    const scale = session.getState("norm.weight");
    session.setState("norm.weight", new Float32Array(8).fill(1000));
    const overflow = session.fit({ x, y }, quiet);
    await expect(overflow).rejects.toThrow(
      /the loss is (NaN|Infinity): .*an infinity (first appeared )?in "exp" \(step/,
    );
    session.setState("norm.weight", scale);
    await session.fit({ x, y }, quiet);
    session.dispose();
  });

  it("in the state", async () => {
    const session = await start();
    const bias = session.getState("fc2.bias");
    session.setState("fc2.bias", Float32Array.of(Number.NaN));
    await expectStop(
      session,
      { x, y },
      0,
      /batch 0: the loss is NaN: "fc2.bias" held NaN or infinities before this batch/,
    );
    session.setState("fc2.bias", bias);
    session.learningRate = Number.POSITIVE_INFINITY;
    await expect(session.fit({ x, y }, quiet)).rejects.toThrow(
      /batch 1: the loss is NaN: "[\w.]*lr", "[\w.]+", "[\w.]+" and \d+ more held .*\n {2}→ an earlier update made them so/,
    );
    session.dispose();
  });

  it("in the validation", async () => {
    const session = await start();
    const validation = { x: changed(x, 0, -1), y };
    await expect(session.fit({ x, y }, { ...quiet, validation })).rejects.toThrow(
      /^epoch 0, validation: the loss is NaN: NaN first appeared in "log"/,
    );
    session.dispose();
  });

  it("unless told otherwise; step and evaluate give it as it is", async () => {
    const session = await start();
    const bad = { x: changed(x, 3, -1), y };
    expect((await session.evaluate(bad)).loss).toBeNaN();
    expect((await session.step(bad)).loss).toBeNaN();
    await session.restore(await (await start()).save());
    const [epoch] = await session.fit(bad, { ...quiet, checkFinite: false });
    expect(epoch!.loss).toBeNaN();
    await expect(session.fit(bad, { checkFinite: 1 as never })).rejects.toThrow("option checkFinite: expected");
    session.dispose();
  });
});

describe("a gradient that is not finite, of a finite loss", () => {
  /** The identity; its gradient is NaN where the input is above 4. */
  const trap = F.customVjp(
    (v: Value) => v.mul(1),
    ({ inputs: [v] }, dy) => dy.mul(F.sqrt(v.rsub(4)).mul(0).add(1)),
  );
  const last = (v: Value) => v.squeeze(1);
  const Trap = () => nn.Lambda((v) => trap(v));
  const sgd = optim.SGD({ lr: 0.01 });
  const systems: Readonly<Record<string, { readonly layers: Record<string, nn.Layer>; readonly options: object }>> = {
    "before all layers, by Adam": {
      layers: {
        emb: nn.Linear(1, 1, { bias: false, weightInit: nn.init.ones }),
        trap: Trap(),
        fc: nn.Linear(1, 1),
        last: nn.Lambda(last),
      },
      options: { optimizer: optim.Adam({ lr: 0.001 }) },
    },
    "between layers with a norm": {
      layers: {
        fc: nn.Linear(1, 2, { weightInit: nn.init.ones, biasInit: nn.init.zeros }),
        trap: Trap(),
        bn: nn.BatchNorm1d(2),
        out: nn.Linear(2, 1),
        last: nn.Lambda(last),
      },
      options: { optimizer: optim.SGD({ lr: 0.001, momentum: 0.9 }), clip: optim.clipNorm(1) },
    },
    "of an infinity, while gradients are added up": {
      layers: {
        fc: nn.Linear(1, 1, { weightInit: nn.init.ones, biasInit: nn.init.zeros }),
        root: nn.Lambda((v) => v.sub(8).square().sqrt()),
        out: nn.Linear(1, 1),
        last: nn.Lambda(last),
      },
      options: { optimizer: optim.Adam({ lr: 0 }), accumulate: 3 },
    },
  };

  const stops = async (
    options: object,
    layers: Record<string, nn.Layer>,
    x: Float32Array | BigInt64Array,
    bad: number,
    input: object,
  ) => {
    const program = trainStep(nn.sequential(layers), {
      inputs: { x: input as never },
      targets: { y: ["batch"] },
      loss: losses.mse(),
      optimizer: sgd,
      ...options,
    });
    const compiled = (await compile(program)) as unknown as TrainingArtifact;
    expect(compiled.manifest.entries.step!.outputs.map((o) => o.name)).toEqual(["loss"]);
    for (const threads of [1, 2]) {
      const [session, good] = [await load(compiled, { threads }), await load(compiled, { threads })];
      const data = { x, y: new Float32Array(x.length).fill(0.5) };
      const fit = session.fit(data, { ...quiet, batchSize: 4 });
      await expect(fit).rejects.toThrow(
        new RegExp(
          `^epoch 0, batch ${Math.floor(bad / 4)}: the loss is [\\d.]+, but its gradients are not finite: NaN first appeared in "`,
        ),
      );
      for (let b = 0; b < Math.floor(bad / 4); b++)
        await good.step({ x: x.slice(4 * b, 4 * b + 4), y: data.y.slice(0, 4) } as never);
      expect(await session.save()).toEqual(await good.save());
      // And otherwise it is trained on.
      await session.fit(data, { ...quiet, batchSize: 4, checkFinite: false });
      session.dispose();
      good.dispose();
    }
  };

  it.each(Object.keys(systems))("%s ends fit in its batch, and changes nothing", async (name) => {
    const { layers, options } = systems[name]!;
    for (const bad of [1, 14]) {
      const x = Float32Array.from({ length: 16 }, (_, i) => (i === bad ? 8 : Math.sin(i)));
      await stops(options, layers, x, bad, ["batch", 1]);
    }
  });

  it("that is known late ends fit in its batch all the same", async () => {
    // The statistics of one channel are updated where they are computed.
    const layers = {
      fc: nn.Linear(1, 1, { weightInit: nn.init.ones }),
      trap: Trap(),
      bn: nn.BatchNorm1d(1),
      last: nn.Lambda(last),
    };
    const inputs = { x: ["batch", 1] as const };
    const program = trainStep(nn.sequential(layers), {
      inputs,
      targets: { y: ["batch"] },
      loss: losses.mse(),
      optimizer: sgd,
    });
    const session = await load((await compile(program)) as unknown as TrainingArtifact);
    const x = Float32Array.from({ length: 16 }, (_, i) => (i === 6 ? 9 : Math.sin(i)));
    await expect(session.fit({ x, y: new Float32Array(16) }, { ...quiet, batchSize: 4 })).rejects.toThrow(
      /^epoch 0, batch 1: the loss is [\d.]+, but its gradients are not finite: (which was known when state|NaN first)/,
    );
    session.dispose();
  });

  it("in rows of an embedding, which are still added in their place", async () => {
    const table = () => ({ dtype: "f32", shape: [5, 1], data: Float32Array.of(0, 1, 2, 8, 3) }) as const;
    const layers = { emb: nn.Embedding(5, 1), trap: Trap(), last: nn.Lambda(last) };
    layers.emb.loadState({ weight: table() });
    const words = BigInt64Array.from({ length: 16 }, (_, i) => (i === 9 ? 3n : BigInt(i % 3)));
    await stops({}, layers, words, 9, { dtype: "i64", shape: ["batch"] });
    const program = trainStep(nn.sequential(layers), {
      inputs: { x: "i64[batch]" },
      targets: { y: ["batch"] },
      loss: losses.mse(),
      optimizer: sgd,
    });
    const { manifest } = (await compile(program)) as unknown as TrainingArtifact;
    expect(manifest.entries.step!.steps.some((s) => /scatter/.test(s.kernel))).toBe(true);
  });
});

describe("indices out of range", () => {
  it.each([
    ["a class label", 3n, 7n, /^loss: index 7 of input "y" /],
    ["a word", 50n, 1n, /^emb: index 50 of input "words" /],
    ["a word below 0", -51n, 1n, /^emb: index -51 of input "words" /],
  ])("%s ends fit with the place and the value, and the batch changes nothing", async (_, word, label, place) => {
    const model = nn.sequential({
      emb: nn.Embedding(50, 4),
      flat: nn.Flatten(),
      norm: nn.BatchNorm1d(12),
      fc: nn.Linear(12, 5),
    });
    const session = (await load(
      (await compile(
        trainStep(model, {
          inputs: { words: { dtype: "i64", shape: ["batch", 3] } },
          targets: { y: { dtype: "i64", shape: ["batch"] } },
          loss: losses.crossEntropy(),
          optimizer: optim.SGD({ lr: 0.1, momentum: 0.9 }),
        }),
      )) as unknown as TrainingArtifact,
    )) as TrainingSession;
    const words = BigInt64Array.from({ length: 24 }, (_, i) => BigInt(i % 50));
    const labels = BigInt64Array.from({ length: 8 }, (_, i) => BigInt(i % 5));
    await session.fit({ words, y: labels }, { progress: false });
    const before = await session.save();
    words[5] = word;
    labels[2] = label;
    const fit = session.fit({ words, y: labels }, { progress: false });
    await expect(fit).rejects.toThrow(place);
    await expect(session.step({ words, y: labels })).rejects.toThrow(place);
    expect(await session.save()).toEqual(before);
    session.dispose();
  });
});
