/** What `fit` and `evaluate` take and tell: labels of other dtypes, metrics that only an own `evaluate` measures. */
import { beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F, losses, nn, optim, program, trainStep } from "../../compiler/dsl/index.js";
import { dataset } from "../../runtime/data/index.js";
import { load, type TrainingArtifact, type TrainingSession } from "../../runtime/index.js";

const count = 24;
const x = Float32Array.from({ length: count * 3 }, (_, i) => Math.sin(i * 1.7));
const classes = Array.from({ length: count }, (_, i) => i % 2);
const quiet = { progress: false, batchSize: 6, epochs: 2 } as const;

describe("labels of another dtype than the input's", () => {
  let artifact: TrainingArtifact;
  beforeAll(async () => {
    const step = trainStep(nn.Linear(3, 2), {
      inputs: { x: ["batch", 3] },
      targets: { y: { dtype: "i64", shape: ["batch"] } },
      loss: losses.crossEntropy(),
      optimizer: optim.SGD({ lr: 0.1 }),
    });
    artifact = (await compile(step, { variants: ["simd128"] })) as unknown as TrainingArtifact;
  });

  it.each([
    ["an array of bytes", Uint8Array.from(classes)],
    ["a tensor of bytes", { dtype: "u8", shape: [count], data: Uint8Array.from(classes) }],
    ["bools", { dtype: "bool", shape: [count], data: Uint8Array.from(classes) }],
    ["whole floats", Float32Array.from(classes)],
  ] as const)("are taken from %s, by fit, evaluate and data sets alike", async (_, y) => {
    const run = async (data: (y: unknown) => unknown, labels: unknown) => {
      const session = await load<TrainingSession>(artifact);
      const [{ loss }] = (await session.fit(data(labels) as never, {
        ...quiet,
        shuffle: false,
        epochs: 1,
      })) as never as [{ loss: number }];
      const measured = await session.evaluate(data(labels) as never, { batchSize: 6 });
      session.dispose();
      return [loss, measured.loss];
    };
    const wanted = await run((labels) => ({ x, y: labels }), BigInt64Array.from(classes.map(BigInt)));
    expect(await run((labels) => ({ x, y: labels }), y)).toEqual(wanted);
    const columns = (labels: unknown) =>
      dataset({ x: { dtype: "f32", shape: [count, 3], data: x }, y: labels } as never).batch(6) as unknown;
    const session = await load<TrainingSession>(artifact);
    const history = await session.fit(columns(y) as never, { progress: false });
    expect(history[0]!.loss).toBe(wanted[0]);
    session.dispose();
  });

  it("are refused where the input's does not hold them", async () => {
    const session = await load<TrainingSession>(artifact);
    const learn = (y: unknown) => session.fit({ x, y } as never, quiet);
    await expect(learn(Float32Array.from(classes, (c) => c / 2))).rejects.toThrow(
      'input "y": 0.5 at index 1 is no i64',
    );
    await expect(learn(Float32Array.of(Number.NaN, ...classes.slice(1)))).rejects.toThrow("NaN at index 0 is no i64");
    await expect(session.fit({ x: Float64Array.from(x), y: Uint8Array.from(classes) } as never, quiet)).rejects.toThrow(
      /input "x": expected f32/,
    );
    session.dispose();
  });
});

it("metrics that only an entry of the user's own measures are told by evaluate, and as validation", async () => {
  const net = nn.Linear(3, 1);
  const types = { inputs: { x: ["batch", 3], y: ["batch", 1] } } as const;
  const p = program(
    { net },
    {
      step: {
        ...types,
        run: (ctx, { x, y }) => ({
          loss: ctx.minimize(F.mean(F.square(F.sub(net(ctx, x!), y!))), net, optim.SGD({ lr: 0.1 })),
        }),
      },
      evaluate: {
        ...types,
        training: false,
        run: (ctx, { x, y }) => {
          const error = F.sub(net(ctx, x!), y!);
          return { loss: F.mean(F.square(error)), mae: F.mean(F.abs(error)), errors: error };
        },
      },
    },
  );
  const session = (await load((await compile(p, { variants: ["simd128"] })) as never)) as TrainingSession;
  const data = { x, y: Float32Array.from(classes) };
  const names: (readonly string[])[] = [];
  const history = await session.fit(data, {
    ...quiet,
    validation: data,
    callbacks: { onBegin: ({ measures }) => void names.push(measures) },
  });
  expect(names).toEqual([["loss", "validation.loss", "validation.mae"]]);
  const { metrics } = await session.evaluate(data, { batchSize: 6 });
  expect(Object.keys(metrics)).toEqual(["mae"]);
  expect(history.at(-1)!.validation!.metrics).toEqual(metrics);
  expect(metrics.mae).toBeGreaterThan(0);
  session.dispose();
});
