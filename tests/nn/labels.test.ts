/** Labels and indices that are none: the error names the input and the value, and the whole batch leaves nothing behind. */

import { describe, expect, it } from "vitest";
import { compile, losses, metrics, nn, optim, trainStep, type Value } from "../../index.js";
import { load, type Tensor, type TrainingSession } from "../../runtime/index.js";

/** Its batch norm changes states early in a step, its embedding's gradient scatters late. */
class Net extends nn.Module {
  readonly embed = nn.Embedding(7, 6);
  readonly norm = nn.BatchNorm1d(6);
  readonly head = nn.Linear(6, 4);
  forward(ctx: nn.Context, words: Value): Value {
    return this.head(ctx, this.norm(ctx, this.embed(ctx, words)));
  }
}

const i64 = (...values: number[]): Tensor => ({
  dtype: "i64",
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});
const inputs = { words: { dtype: "i64", shape: ["batch"] } } as const;
const targets = { y: { dtype: "i64", shape: ["batch"] } } as const;

async function sessionOf(loss: losses.Loss, threads: number): Promise<TrainingSession> {
  const program = trainStep(new Net(), {
    inputs,
    targets,
    loss,
    optimizer: optim.Adam(),
    metrics: { accuracy: metrics.accuracy() },
  });
  return (await load(await compile(program), { threads })) as unknown as TrainingSession;
}

const stateOf = (session: TrainingSession) =>
  Object.fromEntries(session.state.map(({ name }) => [name, session.getState(name)]));

async function problemOf(run: () => Promise<unknown>): Promise<string> {
  const error = await run().then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof Error && error.name === "ModelError") return error.message;
  throw new Error(`no ModelError but ${String(error)}`);
}

describe.each([1, 2])("on %i threads", (threads) => {
  it.each([
    ["crossEntropy", losses.crossEntropy()],
    ["softmaxFocal", losses.softmaxFocal()],
    ["nll", losses.nll()],
    ["multiMargin", losses.multiMargin()],
  ] as const)("%s", async (name, loss) => {
    const session = await sessionOf(loss, threads);
    const words = i64(1, 2, 3, 6);
    await session.step({ words, y: i64(0, 1, 2, 3) } as never);
    const before = stateOf(session);
    for (const wrong of [4, -1, 1000, -(2 ** 40)]) {
      const told = Math.max(wrong, -(2 ** 30 - 1));
      for (const entry of ["step", "evaluate"] as const) {
        const run = () => session[entry]({ words, y: i64(0, wrong, 2, 3) } as never);
        const message = await problemOf(run);
        expect(message).toContain(`index ${told} of input "y" names no class`);
        expect(message).toContain("[0, 3]");
      }
      const states = stateOf(session);
      for (const [state, t] of Object.entries(before))
        if (!state.startsWith("metric.")) expect(states[state], state).toEqual(t);
    }
    const ignored = session.step({ words, y: i64(0, -100, 2, 3) } as never);
    if (name === "multiMargin") await expect(ignored).rejects.toThrow("index -100");
    else expect((await ignored).loss).toBeTypeOf("number");
    session.dispose();
  });

  it("words that are not in the embedding", async () => {
    const session = await sessionOf(losses.crossEntropy(), threads);
    const y = i64(0, 1, 2, 3);
    await session.step({ words: i64(1, 2, 3, 6), y } as never);
    const before = stateOf(session);
    const message = await problemOf(() => session.step({ words: i64(1, 7, 3, 6), y } as never));
    expect(message).toContain('embed: index 7 of input "words" lies outside axis 0 of f32[7,6]');
    expect(stateOf(session)).toEqual(before);
    session.dispose();
  });
});

it("a step with an embedding writes its parameters in place", async () => {
  const program = trainStep(new Net(), { inputs, targets, loss: losses.crossEntropy(), optimizer: optim.Adam() });
  const { manifest } = await compile(program);
  const copies = manifest.entries.step!.steps.filter((s) => s.kernel === "copy").length;
  expect(copies).toBeLessThanOrEqual(2);
});
