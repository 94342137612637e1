/** Memory for what depends on sizes that the run finds: taken when they are found, as much as they need. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { np, sum } from "../../ir/build.js";
import { ifOp, loopOp } from "../../ir/control-build.js";
import { type Graph, graph, param, type Value } from "../../ir/graph.js";
import { scalarConstant } from "../../ir/ops/constant.js";
import { nonZero, range, unknownSize } from "../../ir/ops/dynamic.js";
import { add, mul } from "../../ir/ops/elementwise.js";
import { gather } from "../../ir/ops/indexing.js";
import { reshape } from "../../ir/ops/movement.js";
import { load } from "../../runtime/index.js";

/** What an importer says of a size that nothing bounds. */
const unbounded = 2 ** 31 - 1;
const one = scalarConstant("f32", 1);
const zero = scalarConstant("f32", 0);
const upTo = (end: Value, name: string): Value => range([zero, end, one], { defines: unknownSize(name, unbounded) });

const end = param("end", { dtype: "f32", shape: [] });

/** 0 … end, those of it that are beyond 10, and a product of the two sizes' sums; all of them results. */
function chain(): Graph {
  const all = upTo(end, "n");
  const size = unknownSize("large", all.type.shape[0]!);
  const places = reshape([nonZero([np.gt(all, 10)], { defines: size })], { shape: [size] });
  const large = gather([all, places], { axis: 0 });
  return graph("chain", [end], [np.add(all, 1), np.mul(large, 2), mul([sum(all, 0), sum(large, 0)])], ["a", "b", "c"]);
}

const feeds = (value: number) => ({ end: Float32Array.of(value) });
const numbers = (from: number, to: number) => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
const total = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);

describe.each([1, 2])("with %i threads", (threads) => {
  it("runs take what their sizes need, also beyond what an earlier one took", async () => {
    const session = await load(await compile(chain()), { threads });
    const before = session.memoryBytes;
    for (const n of [5, 0, 1000, 12, 100_000, 3]) {
      const { a, b, c } = await session.run(feeds(n));
      expect(Array.from(a!.data as Float32Array)).toEqual(numbers(1, n + 1));
      expect(Array.from(b!.data as Float32Array)).toEqual(numbers(11, n).map((i) => 2 * i));
      if (n <= 1000) expect(c!.data[0]).toBe(Math.fround(total(numbers(0, n)) * total(numbers(11, n))));
    }
    // Three values of 100,000 floats or indices live at once, and their like; nothing of 2³¹.
    expect(session.memoryBytes).toBeGreaterThan(before);
    expect(session.memoryBytes).toBeLessThan(before + 4_000_000);
    session.dispose();
  });

  it("what there is no memory for is refused, and smaller sizes run on", async () => {
    const session = await load(await compile(chain()), { threads, maxMemoryBytes: 2 ** 20 });
    await expect(session.run(feeds(1_000_000))).rejects.toThrow(
      /memory: a run needs .* MiB, maxMemoryBytes allows 1\.0 MiB/,
    );
    await expect(session.run(feeds(2e9))).rejects.toThrow(/memory: a run needs more than the 4 GiB/);
    expect((await session.run(feeds(20))).b!.data).toHaveLength(9);
    expect(session.memoryBytes).toBeLessThanOrEqual(2 ** 20);
    session.dispose();
  });

  it("each round of a loop places its own, above what lives through the loop", async () => {
    // total ← total + Σ 0 … (total + i) over rounds, and the last round's numbers weighed.
    const rounds = loopOp({ tripCount: scalarConstant("i64", 4), carried: [end, zero] }, (_, [n, sumOfAll]) => {
      const inner = upTo(n!, "inner");
      const [chosen] = ifOp(
        np.gt(n!, 6),
        () => [upTo(np.mul(n!, 3), "branch")],
        () => [np.add(inner, 0)],
        { shapes: [[unknownSize("chosen", unbounded)]], defines: [unknownSize("chosen", unbounded)] },
      );
      return { carried: [np.add(n!, 2), add([sumOfAll!, add([sum(chosen!, 0), sum(inner, 0)])])] };
    });
    const after = upTo(rounds.carried[0]!, "after");
    const g = graph("rounds", [end], [rounds.carried[1]!, after], ["sum", "after"]);
    const session = await load(await compile(g), { threads });
    for (const n of [1, 5, 4000, 2]) {
      let want = 0;
      for (let i = 0, k = n; i < 4; i++, k += 2) want += total(numbers(0, k)) + total(numbers(0, k > 6 ? 3 * k : k));
      const out = await session.run(feeds(n));
      expect(Math.abs((out.sum!.data[0] as number) - want)).toBeLessThanOrEqual(want * 1e-5);
      expect(out.after!.data).toHaveLength(n + 8);
    }
    expect(session.memoryBytes).toBeLessThan(2 ** 20);
    session.dispose();
  });
});

it("programs without such sizes are planned before the run, as one", async () => {
  const x = param("x", { dtype: "f32", shape: [40] });
  const { manifest } = await compile(graph("fixed", [x], [np.add(x, sum(x, 0))], ["y"]));
  expect(manifest.entries.main!.maxBytes).toBeLessThan(4096);
  expect(manifest.memory.tableSlots).toBe(0);
});
