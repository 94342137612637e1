/** Recurrent layers over sequences of different lengths, against PyTorch's packed sequences (tests/fixtures/layers). */

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { nn, toGraph } from "../../compiler/dsl/index.js";
import { ModelError } from "../../ir/errors.js";
import type { Value } from "../../ir/graph.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { everywhere, gradientGraph } from "./layer-gradients.js";
import { disagreement, readJson, readTensors } from "./reference-data.js";

interface Case {
  readonly name: string;
  readonly kind: "RNN" | "LSTM" | "GRU";
  readonly options: {
    readonly num_layers?: number;
    readonly bidirectional?: boolean;
    readonly batch_first?: boolean;
    readonly bias?: boolean;
    readonly nonlinearity?: "tanh" | "relu";
  };
  readonly inputs: readonly string[];
  readonly outputs: number;
}
interface Cases {
  readonly sizes: { readonly input: number; readonly hidden: number; readonly steps: number; readonly batch: number };
  readonly lengths: readonly number[];
  readonly cases: readonly Case[];
}

const folder = join(import.meta.dirname, "../fixtures/layers");
const { sizes, lengths, cases } = readJson<Cases>(join(folder, "recurrent.json"));
const stored = readTensors(join(folder, "recurrent.safetensors"));
const lengthsTensor = tensorFrom("i64", [lengths.length], lengths);

function layerOf({ kind, options }: Case) {
  const { num_layers: layers, batch_first: batchFirst, ...same } = options;
  const given = { ...same, ...(layers ? { layers } : {}), ...(batchFirst ? { batchFirst } : {}) };
  return nn[kind](sizes.input, sizes.hidden, given);
}

/** Inputs with a value behind the end of each sequence. */
function withPadding(x: Tensor, batchFirst: boolean, value: number): Tensor {
  const { steps, batch, input } = sizes;
  const data = Float32Array.from(x.data as Float32Array);
  for (let b = 0; b < batch; b++)
    for (let t = lengths[b]!; t < steps; t++)
      data.fill(
        value,
        (batchFirst ? b * steps + t : t * batch + b) * input,
        (batchFirst ? b * steps + t : t * batch + b) * input + input,
      );
  return tensorFrom("f32", x.shape, data);
}

const valuesOf = (out: nn.RecurrentOutput): readonly Value[] => Object.values(out);

describe("packed sequences", () => {
  describe.each(everywhere)("$name", ({ run }) => {
    it.each(cases.map((c) => [`${c.kind} ${JSON.stringify(c.options)} ${c.name}`, c] as const))("%s", async (_, c) => {
      const feeds: Record<string, Tensor> = { lengths: lengthsTensor };
      for (const name of c.inputs) feeds[name] = stored.get(`${c.name}/in/${name}`)!;
      feeds.x = withPadding(feeds.x!, c.options.batch_first ?? false, NaN);
      const range = Array.from({ length: c.outputs }, (_, i) => i);
      const model = layerOf(c);
      const g = gradientGraph({
        model,
        feeds,
        apply: (ctx, v) => {
          const states = Object.fromEntries(["hidden", "cell"].flatMap((n) => (v[n] ? [[n, v[n]]] : [])));
          return valuesOf(model(ctx, v.x!, { lengths: v.lengths!, ...states }));
        },
        upstream: range.map((i) => stored.get(`${c.name}/upstream/${i}`)!),
        wrt: c.inputs,
      });
      const got = await run(g, Object.values(feeds));
      const want = [...range.map((i) => `${c.name}/out/${i}`), ...c.inputs.map((n) => `${c.name}/grad/${n}`)];
      want.forEach((key, i) => {
        expect(disagreement(got[i]!, stored.get(key)!, 1e-4, 1e-5), key).toBeUndefined();
      });
    });
  });
});

/** The last hidden states of texts whose lengths are an input. */
class Reader extends nn.Module<readonly [x: Value, lengths: Value], nn.RecurrentOutput> {
  readonly rnn = nn.GRU(3, 4, { bidirectional: true });
  forward(ctx: nn.Context, x: Value, lengths: Value): nn.RecurrentOutput {
    return this.rnn(ctx, x, { lengths });
  }
}
const inputs = { x: ["steps", "batch", 3], lengths: { dtype: "i64" as const, shape: ["batch"] } };

describe("lengths that a run gives", () => {
  it("of any batch and number of steps: padding changes nothing", async () => {
    const session = await load(await compile(toGraph(new Reader(), { inputs }), { variants: ["simd128"] }), {
      threads: 1,
    });
    const one = Array.from({ length: 4 * 3 }, (_, i) => Math.sin(i));
    const alone = await session.run({
      x: tensorFrom("f32", [4, 1, 3], one),
      lengths: BigInt64Array.of(4n),
    } as never);
    // The same sequence as the second of three, in a longer batch whose padding is not zero.
    const padded = new Float32Array(7 * 3 * 3).fill(5);
    for (let t = 0; t < 4; t++) for (let f = 0; f < 3; f++) padded[(t * 3 + 1) * 3 + f] = one[t * 3 + f]!;
    const among = await session.run({
      x: tensorFrom("f32", [7, 3, 3], padded),
      lengths: BigInt64Array.of(7n, 4n, 0n),
    } as never);
    const states = (t: unknown) => [...((t as Tensor).data as Float32Array)];
    const [few, many] = [states(alone.hidden), states(among.hidden)];
    for (const d of [0, 1]) {
      expect(many.slice((d * 3 + 1) * 4, (d * 3 + 2) * 4)).toEqual(few.slice(d * 4, (d + 1) * 4));
      // A sequence of length 0 keeps the first state.
      expect(many.slice((d * 3 + 2) * 4, (d * 3 + 3) * 4)).toEqual([0, 0, 0, 0]);
    }
    session.dispose();
  });

  it("beyond the steps are refused in the run, and the session goes on", async () => {
    const session = await load(await compile(toGraph(new Reader(), { inputs }), { variants: ["simd128"] }), {
      threads: 1,
    });
    const x = tensorFrom("f32", [2, 2, 3], new Float32Array(12));
    const run = (...lengths: bigint[]) => session.run({ x, lengths: BigInt64Array.from(lengths) } as never);
    await expect(run(2n, 3n)).rejects.toThrow(/rnn/);
    await expect(run(2n, 3n)).rejects.toMatchObject({ name: "ModelError" });
    await run(2n, 1n);
    session.dispose();
  });
});

describe("what does not fit is told", () => {
  const apply = (make: () => nn.RNNModule | nn.LSTMModule, inputs: object) => {
    class Model extends nn.Module<readonly [x: Value, h: Value]> {
      readonly rnn = make();
      forward(ctx: nn.Context, x: Value, h: Value): Value {
        const given = Object.fromEntries(Object.keys(inputs).map((name) => [name, h]));
        return this.rnn(ctx, x, given).output;
      }
    }
    return () => toGraph(new Model(), { inputs: { x: [5, 2, 3], h: [1, 2, 4] } });
  };
  it.each([
    ["an input with another name", () => nn.RNN(3, 4), { length: 1 }, /rnn: the layer takes no "length"/],
    ["a cell for a layer without", () => nn.RNN(3, 4), { hidden: 1, cell: 1 }, /cell/],
    ["a state without its cell", () => nn.LSTM(3, 4), { hidden: 1 }, /hidden and cell/],
    ["lengths of another shape", () => nn.RNN(3, 4), { lengths: 1 }, /rnn: .*lengths/],
    ["states for more layers", () => nn.RNN(3, 4, { layers: 2 }), { hidden: 1 }, /rnn: expected 2 layers/],
  ])("%s", (_, make, inputs, message) => {
    const run = apply(make, inputs);
    expect(run).toThrow(ModelError);
    expect(run).toThrow(message);
  });
});
