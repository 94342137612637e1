/** The operations that are counted without running a kernel are those that the interpreter runs. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { forEachStep, type KernelStep } from "../../compiler/schedule.js";
import { mathFunctions } from "../../compiler/wasm/math.js";
import { evaluateDim } from "../../ir/dim.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { interpretLoop } from "../../ir/loop-interpret.js";
import { operationsOf, ownOperations } from "../../ir/loop-work.js";

const memory = new ArrayBuffer(2 ** 24);

/** Of the kernels of a graph, in the order of its schedule. */
async function kernelsOf(
  text: string,
): Promise<{ readonly name: string; readonly counted: number; readonly run: number }[]> {
  const artifact = await compile(parseGraph(text), { variants: ["simd128"] });
  const kernels: KernelStep[] = [];
  for (const { schedule } of artifact.assembled.plans)
    forEachStep(schedule.steps, (s) => {
      if (s.kind === "kernel") kernels.push(s);
    });
  return kernels.map(({ fn, helpers, args, chunks }) => {
    // All memory is zeros, and far from its ends wherever a kernel looks.
    let at = 2 ** 20;
    const values = args.map((a) => {
      if (a.kind === "dim") return evaluateDim(a.value, new Map());
      if (a.kind === "f32") return a.value;
      at += 2 ** 19;
      return at;
    });
    const range = chunks === undefined ? [] : [0, evaluateDim(chunks, new Map())];
    let run = 0;
    new Uint8Array(memory).fill(0);
    interpretLoop({ functions: [fn, ...helpers] }, fn.name, [...range, ...values], {
      memory,
      math: mathFunctions,
      budget: 1e8,
      onExpr: (e) => {
        run += ownOperations(e);
      },
    });
    const known = args.map((a, i) => (a.kind === "dim" || a.kind === "f32" ? values[i]! : undefined));
    return { name: fn.name, counted: operationsOf(fn, helpers, [...range, ...known], { math: mathFunctions }), run };
  });
}

const image = (layout: string, rest: string) =>
  `strides=[1,1], padLow=[1,1], padHigh=[1,1], dilations=[1,1], ${rest}layout="${layout}"`;
const conv = (
  cin: number,
  cout: number,
  size: number,
  groups = 1,
) => `graph @g(%x: f32[1,${size},${size},${cin}], %w: f32[${cout},3,3,${cin / groups}]) -> f32[1,${size},${size},${cout}] {
  %0: f32[1,${size},${size},${cout}] = conv %x, %w {${image("channelsLast", `groups=${groups}, `)}}
  return %0
}
`;

/** With the share by which sampling loops whose rounds differ may be off. */
const graphs: Readonly<Record<string, readonly [text: string, tolerance: number]>> = {
  "a product": [
    `graph @g(%a: f32[37,50], %b: f32[50,29]) -> f32[37,29] {
  %0: f32[37,29] = dotGeneral %a, %b {batchA=[], batchB=[], contractA=[1], contractB=[0]}
  %1: f32[37,29] = relu %0
  return %1
}
`,
    0,
  ],
  "a product of many rows": [
    `graph @g(%a: f32[210,40], %b: f32[40,70]) -> f32[210,70] {
  %0: f32[210,70] = dotGeneral %a, %b {batchA=[], batchB=[], contractA=[1], contractB=[0]}
  return %0
}
`,
    0,
  ],
  "functions of elements": [
    `graph @g(%x: f32[3,101]) -> f32[3,101] {
  %0: f32[3,101] = exp %x
  %1: f32[3,101] = add %0, %x
  %2: f32[3,101] = tanh %1
  return %2
}
`,
    0,
  ],
  "a softmax": [
    `graph @g(%x: f32[5,33]) -> f32[5,33] {
  %0: f32[5,33] = softmax %x {axis=1}
  return %0
}
`,
    0,
  ],
  "a convolution": [conv(6, 10, 9), 0.01],
  "a convolution of many channels": [conv(32, 32, 16), 0.01],
  "a depthwise convolution": [conv(12, 12, 11, 12), 0.03],
  "a pool": [
    `graph @g(%x: f32[1,9,9,5]) -> f32[1,9,9,5] {
  %0: f32[1,9,9,5] = windowSum %x {window=[3,3], ${image("channelsLast", "")}}
  return %0
}
`,
    0.05,
  ],
};

describe("operations of kernels", () => {
  it.each(Object.keys(graphs))("of %s are those that run", async (name) => {
    const [text, tolerance] = graphs[name]!;
    const kernels = await kernelsOf(text);
    expect(kernels.length).toBeGreaterThan(0);
    for (const k of kernels) {
      expect(Math.abs(k.counted - k.run), `${k.name}: ${k.counted} counted, ${k.run} run`).toBeLessThanOrEqual(
        tolerance * k.run,
      );
    }
  });
});
