/** Optimisers that change the rows of an embedding which a batch uses: as PyTorch's sparse gradients, and without a dense buffer. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { allBuffers } from "../../compiler/plan/state.js";
import { compile, F, losses, nn, optim, trainStep, type Value } from "../../index.js";
import { load } from "../../runtime/index.js";

interface Case {
  readonly optimizer: "SGD" | "Adagrad" | "SparseAdam";
  readonly options: object;
  readonly clip: number | null;
  readonly bag: boolean;
  readonly loss: readonly number[];
  readonly table: readonly number[];
}
interface File {
  readonly size: readonly [rows: number, columns: number];
  readonly classes: number;
  readonly table: readonly number[];
  readonly head: readonly number[];
  readonly batches: readonly (readonly number[])[];
  readonly labels: readonly (readonly number[])[];
  readonly cases: readonly Case[];
}
const file = JSON.parse(
  readFileSync(new URL("../fixtures/learn/sparse-optimizers.json", import.meta.url), "utf8"),
) as File;

interface Shape {
  readonly rows: number;
  readonly columns: number;
  readonly bag?: boolean;
  readonly sparse?: boolean;
}

/** Words → rows (or means of two) → products with a head that stays as it is. */
class Words extends nn.Module {
  readonly embedding: nn.Layer;
  readonly head: nn.Variable;

  constructor({ rows, columns, bag = false, sparse = true }: Shape, classes: number) {
    super();
    this.embedding = bag ? nn.EmbeddingBag(rows, columns, { sparse }) : nn.Embedding(rows, columns, { sparse });
    this.head = nn.buffer([classes, columns], nn.init.normal());
  }

  forward(ctx: nn.Context, x: Value): Value {
    return F.linear(this.embedding(ctx, x), ctx.value(this.head));
  }
}

const programOf = (shape: Shape, classes: number, optimizer: optim.Optimizer, batch: readonly number[], more = {}) =>
  trainStep(new Words(shape, classes), {
    inputs: { x: { dtype: "i32", shape: batch } },
    targets: { y: { dtype: "i32", shape: batch.slice(0, 1) } },
    loss: losses.crossEntropy(),
    optimizer,
    ...more,
  });

describe("rows of embeddings", () => {
  const [rows, columns] = file.size;
  it.each(
    file.cases.map(
      (c) =>
        [`${c.optimizer} ${JSON.stringify(c.options)}${c.clip ? ", clipped" : ""}${c.bag ? ", bags" : ""}`, c] as const,
    ),
  )("%s", async (_, c) => {
    const optimizer = optim[c.optimizer](c.options);
    const clip = c.clip === null ? {} : { clip: optim.clipNorm(c.clip) };
    const sparse = [true, ...(c.optimizer === "SparseAdam" ? [] : [false])];
    for (const threads of [1, 2])
      for (const asked of sparse) {
        const shape = { rows, columns, bag: c.bag, sparse: asked };
        const program = programOf(shape, file.classes, optimizer, c.bag ? [3, 2] : [6], clip);
        const session = await load(await compile(program), { threads });
        session.setState("embedding.weight", Float32Array.from(file.table));
        session.setState("head", Float32Array.from(file.head));
        for (const [k, x] of file.batches.entries()) {
          const y = Int32Array.from(file.labels[k]!.slice(0, c.bag ? 3 : 6));
          const { loss } = await session.step({ x: Int32Array.from(x), y });
          expect(Math.abs(loss - c.loss[k]!)).toBeLessThan(2e-5);
        }
        const table = session.getState("embedding.weight").data as Float32Array;
        for (const [i, v] of table.entries()) expect(Math.abs(v - c.table[i]!)).toBeLessThan(2e-5);
        session.dispose();
      }
  });

  it.each([
    ["SGD", optim.SGD({ lr: 0.1 })],
    ["SGD, clipped", optim.SGD({ lr: 0.1 }), optim.clipNorm(0.1)],
    ["Adagrad, clipped", optim.Adagrad({ lr: 0.1 }), optim.clipValue(0.1)],
    ["SparseAdam", optim.SparseAdam({ lr: 0.1 }), optim.clipEachNorm(0.1)],
  ])("%s has no buffer of the table's size, and writes in place", async (_, optimizer, clip?: optim.Clip) => {
    const program = programOf({ rows: 5000, columns: 16 }, 3, optimizer, [32], clip ? { clip } : {});
    const artifact = await compile(program);
    const { schedule, arena } = artifact.assembled.plans[0]!;
    const large = allBuffers(schedule).filter((b) => b.source.kind === "temp" && b.shape.join() === "5000,16");
    expect(large).toEqual([]);
    // A number for each row says where it is summed.
    expect(arena.bytes).toBeLessThan(4 * 5000 + 32 * 16 * 4 * 12);
  });

  it("says why a table can't be learnt by rows", () => {
    const of =
      (optimizer: optim.Optimizer, more = {}, sparse = true) =>
      () =>
        programOf({ rows: 50, columns: 4, sparse }, 3, optimizer, [4], more);
    expect(of(optim.Adam())).toThrow(
      /embedding.weight: it can't be learnt by rows: Adam with these options has no sparse/,
    );
    expect(of(optim.SGD({ momentum: 0.9 }))).toThrow(/SGD with these options/);
    expect(of(optim.Adagrad({ weightDecay: 0.1 }))).toThrow(/Adagrad with these options/);
    expect(of(optim.Adagrad(), { accumulate: 2 })).toThrow(/several batches/);
    expect(of(optim.Adagrad(), { clip: (g: readonly Value[]) => g })).toThrow(/a clip of one's own/);
    expect(of(optim.averaged(optim.Adagrad()))).toThrow(/averages are kept/);
    expect(of(optim.Adam(), {}, false)).not.toThrow();
    const linear = nn.Linear(3, 2);
    const dense = () =>
      trainStep(linear, {
        inputs: { x: [2, 3] },
        targets: { y: [2, 2] },
        loss: losses.mse(),
        optimizer: optim.SparseAdam(),
      });
    expect(dense).toThrow(/weight: it can't be learnt by rows: its gradient is no rows of a table/);
  });
});
