import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { type DType, dtypes } from "../../ir/dtype.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { evaluate } from "../../ir/reference.js";
import { zeros } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";

const graphs: Readonly<Record<string, (d: DType) => string>> = {
  "what a pad puts around": (d) => `graph @g(%x: ${d}[3]) -> ${d}[5] {
  %0: ${d}[5] = pad %x {low=[0], high=[2], interior=[0], value=1}
  return %0
}
`,
  "a constant of one element": (d) => `graph @g(%x: ${d}[3]) -> ${d}[3] {
  %0: ${d}[1] = constant {value=${d}[1](${d === "bool" ? "true" : "1"})}
  %1: ${d}[3] = broadcast %0 {shape=[3], axes=[0]}
  %2: ${d}[4] = concat %1, %0 {axis=0}
  %3: ${d}[3] = slice %2 {starts=[1], sizes=[3], steps=[1]}
  return %3
}
`,
};

describe.each(Object.keys(graphs))("%s", (what) => {
  it.each(dtypes)("is what the dtype %s stores", async (dtype) => {
    const g = parseGraph(graphs[what]!(dtype));
    const x = zeros(dtype, [3]);
    const [want] = evaluate(g, { x });
    const session = await load(await compile(g, { variants: ["simd128"] }));
    const [got] = Object.values(await session.run({ x } as never));
    expect(String(got!.data)).toBe(String(want!.data));
    session.dispose();
  });
});
