/**
 * Random programs with state over several runs, against the reference. WASMITH_FUZZ_STATE and WASMITH_FUZZ_SEED ask for more or
 * others.
 */

import { it } from "vitest";
import { type CompileOptions, compile } from "../../compiler/compile.js";
import { type Graph, paramName } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { evaluate } from "../../ir/reference.js";
import { element, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { growAndCheck } from "./batch.js";
import { fuzzRuns } from "./seed.js";
import { growStateful, type Stateful } from "./stateful.js";

const count = fuzzRuns("WASMITH_FUZZ_STATE", 25, 150);

type Named = Record<string, Tensor>;

function wrongIn(where: string, got: Tensor, want: Tensor, reach: number): string | undefined {
  if (got.shape.join() !== want.shape.join()) return `${where} has shape [${got.shape}]`;
  for (let e = 0; e < want.data.length; e++) {
    const [x, y] = [element(got, e), element(want, e)];
    if (!(Math.abs(x - y) <= 2 * reach)) return `${where}: element ${e} is ${x} instead of ${y} ± ${reach}`;
  }
  return undefined;
}

async function check({ program, runs, reach }: Stateful, options: CompileOptions, threads: number) {
  const session = await load(await compile(program, options), { threads });
  const { main } = program.entries as Readonly<Record<string, Graph>>;
  const states: Named = Object.fromEntries(program.state.map((s) => [s.name, s.tensor]));
  const donated = program.state.length;
  try {
    for (const [r, feeds] of runs.entries()) {
      const names = main!.params.map(paramName);
      const inputs = Object.fromEntries(names.filter((n) => !(n in states)).map((n, i) => [n, feeds[i]!]));
      const want = evaluate(
        main!,
        names.map((n) => states[n] ?? inputs[n]!),
      );
      const got = (await session.run(inputs as never)) as Named;
      for (const [i, w] of want.slice(donated).entries()) {
        const wrong = wrongIn(`run ${r}, output ${i}`, got[main!.resultNames[donated + i]!]!, w, reach[i]!);
        if (wrong !== undefined) return wrong;
      }
      program.state.forEach(({ name }, i) => {
        states[name] = want[i]!;
      });
      const shift = tensorFrom("f32", [], [r - 1.5]);
      const now = Object.values((await session.run({ shift } as never, { entry: "read" })) as Named);
      const there = evaluate(program.entries.read!, [...program.state.map((s) => states[s.name]!), shift]);
      for (const [i, t] of there.entries()) {
        const wrong = wrongIn(`result ${i} of states after run ${r}`, now[i]!, t, 0);
        if (wrong !== undefined) return wrong;
      }
    }
    return undefined;
  } finally {
    session.dispose();
  }
}

it.each([
  ["passes and fusion", { variants: ["simd128"] }, 1],
  ["kernel by kernel, two threads", { variants: ["simd128-threads"], skipPasses: ["fuse", "simplify"] }, 2],
] as const)("state: %s", { timeout: 900_000 }, async (name, options, threads) => {
  await growAndCheck({
    name: `state, ${name}`,
    count,
    batch: 1,
    steps: 10,
    grow: growStateful,
    check: async ([only]) => [await check(only!, options, threads)],
    show: ({ program }) =>
      Object.values(program.entries)
        .map((g) => printGraph(g))
        .join("\n"),
  });
});
