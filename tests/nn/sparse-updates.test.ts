/** A step of SGD changes the rows of an embedding that a batch uses, in their place. */

import { describe, expect, it } from "vitest";
import { compile, losses, nn, optim, trainStep, type Value } from "../../index.js";
import { load } from "../../runtime/index.js";

const words = 1000;

class Tagger extends nn.Module {
  readonly embedding = nn.Embedding(words, 8);
  readonly fc = nn.Linear(8, 3);
  forward(ctx: nn.Context, x: Value): Value {
    return this.fc(ctx, this.embedding(ctx, x));
  }
}

async function trained(optimizer: optim.Optimizer, skipPasses: readonly string[]) {
  const program = trainStep(new Tagger(), {
    inputs: { x: { dtype: "i32", shape: ["batch"] } },
    targets: { y: { dtype: "i32", shape: ["batch"] } },
    dims: { batch: [1, 64] },
    loss: losses.crossEntropy(),
    optimizer,
  });
  const artifact = await compile(program, { skipPasses });
  const step = artifact.assembled.plans[0]!;
  const sessions = await Promise.all([1, 2].map((threads) => load(artifact, { threads })));
  return { step, sessions };
}

// Word 7 stands in the batch three times.
const batch = { x: Int32Array.of(7, 3, 7, 999, 0, 7), y: Int32Array.of(0, 1, 2, 0, 1, 2) };

describe("sparse updates", () => {
  it.each([
    ["plain", optim.SGD({ lr: 0.5 })],
    ["with momentum", optim.SGD({ lr: 0.5, momentum: 0.9 })],
    ["with weight decay", optim.SGD({ lr: 0.5, weightDecay: 0.01 })],
    ["Adagrad", optim.Adagrad({ lr: 0.1 })],
  ])("give the losses and weights of dense ones: %s", async (_, optimizer) => {
    const [sparse, dense] = [await trained(optimizer, []), await trained(optimizer, ["sparse-updates"])];
    const runs = [];
    for (const session of [...sparse.sessions, ...dense.sessions]) {
      const found: number[] = [];
      for (let i = 0; i < 5; i++) found.push((await session.step(batch)).loss as number);
      const table = session.getState("embedding.weight").data as Float32Array;
      runs.push({ found, table: Array.from(table) });
      session.dispose();
    }
    const [one, two, ...others] = runs;
    // Threads change no bit.
    expect(two).toEqual(one);
    for (const other of others) {
      one!.found.forEach((loss, i) => {
        expect(Math.abs(loss - other.found[i]!)).toBeLessThan(1e-5);
      });
      one!.table.forEach((v, i) => {
        expect(Math.abs(v - other.table[i]!)).toBeLessThan(1e-5);
      });
    }
  });

  it("need no memory of the table's size, and leave it alone where an index is out of range", async () => {
    const { step, sessions } = await trained(optim.SGD({ lr: 0.5 }), []);
    const tables = [...step.arena.offsets.keys()].filter((b) => b.shape[0] === words);
    expect(tables).toEqual([]);
    const [session] = sessions;
    const states = () =>
      ["embedding.weight", "fc.weight", "fc.bias", "optimizer.step"].map((name) => session!.getState(name));
    const before = states();
    await expect(session!.step({ ...batch, x: Int32Array.of(7, 3, words, 999, 0, 7) })).rejects.toThrow(/1000/);
    expect(states()).toEqual(before);
    for (const s of sessions) s.dispose();
  });
});
