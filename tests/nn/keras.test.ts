/** Models with Keras's weights give Keras's outputs (tests/fixtures/layers/from_keras.py), and what does not fit is told. */

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { nn, toGraph } from "../../compiler/dsl/index.js";
import { permute } from "../../ir/build.js";
import { ModelError } from "../../ir/errors.js";
import type { Value } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import { everywhere } from "./layer-gradients.js";
import { disagreement, readTensors } from "./reference-data.js";

const stored = readTensors(join(import.meta.dirname, "../fixtures/layers/from_keras.safetensors"));
const prefixed = (prefix: string): Map<string, Tensor> =>
  new Map(
    [...stored].filter(([key]) => key.startsWith(prefix)).map(([key, t]) => [key.slice(prefix.length), t] as const),
  );
const weightsOf = (name: string) => prefixed(`${name}/weights/`);

const channelsFirst = nn.Lambda((x) =>
  permute(x, [0, x.type.shape.length - 1, ...x.type.shape.slice(2).map((_, i) => i + 1)]),
);
const channelsLast = nn.Lambda((x) => permute(x, [0, ...x.type.shape.slice(2).map((_, i) => i + 2), 1]));

class SelfAttention extends nn.Module {
  readonly attention = nn.MultiHeadAttention(6, 2, { batchFirst: true });
  forward(ctx: nn.Context, x: Value): Value {
    return this.attention(ctx, x);
  }
}

const keras = { batchFirst: true, bias: "single" } as const;
const output = (y: nn.RecurrentOutput): Value => y.output;
const norm = { epsilon: 1e-3 };

const convnet = () =>
  nn.sequential({
    first: channelsFirst,
    conv1: nn.Conv2d(2, 4, 3),
    relu: nn.ReLU(),
    bn1: nn.BatchNorm2d(4, norm),
    pool: nn.MaxPool2d(2),
    dw: nn.Conv2d(4, 8, 2, { groups: 4 }),
    grouped: nn.Conv2d(8, 6, [2, 1], { groups: 2, padding: "same" }),
    separable: nn.sequential(nn.Conv2d(6, 6, 2, { groups: 6, bias: false }), nn.Conv2d(6, 5, 1)),
    prelu: nn.PReLU(5),
    gn: nn.GroupNorm(5, 5, norm),
    flat: nn.Flatten(),
    fc: nn.Linear(45, 3),
  });
const flattened = { fc: [5, 3, 3] };
const separable = { "separable.0": "separable", "separable.1": "separable" };

interface Case {
  readonly of?: string;
  readonly model: () => nn.Layer;
  readonly options?: nn.KerasOptions;
}

const cases: Readonly<Record<string, Case>> = {
  convnet: { model: convnet, options: { layers: separable, flattened } },
  "convnet in order": { of: "convnet", model: convnet, options: { layers: "inOrder", flattened } },
  transposed: {
    model: () => nn.sequential({ a: channelsFirst, up: nn.ConvTranspose2d(3, 2, 3, { stride: 2 }), b: channelsLast }),
  },
  conv1d: {
    model: () =>
      nn.sequential({
        a: channelsFirst,
        conv: nn.Conv1d(3, 4, 3, { bias: false }),
        b: channelsLast,
        ln: nn.LayerNorm(4, norm),
      }),
  },
  lstm: {
    model: () =>
      nn.sequential({
        rnn: nn.Select(nn.LSTM(3, 4, { ...keras, layers: 2 }), (y) => nn.lastStep(y.output, 1)),
        fc: nn.Linear(4, 2),
      }),
    options: { layers: { rnn: ["lstm", "lstm_1"], fc: "dense" } },
  },
  "lstm with two biases, in order": {
    of: "lstm",
    model: () =>
      nn.sequential(
        nn.Select(nn.LSTM(3, 4, { batchFirst: true }), output),
        nn.Select(nn.LSTM(4, 4, { batchFirst: true }), (y) => nn.lastStep(y.output, 1)),
        nn.Linear(4, 2),
      ),
    options: { layers: "inOrder" },
  },
  bidirectional: {
    model: () => nn.Select(nn.LSTM(3, 4, { ...keras, layers: 2, bidirectional: true }), output),
    options: { layers: "inOrder" },
  },
  gru: {
    model: () => nn.Select(nn.GRU(3, 4, { batchFirst: true }), output),
    options: { layers: { "": "gru" } },
  },
  gru_before: {
    model: () => nn.Select(nn.GRU(3, 4, { ...keras, resetAfter: false, bidirectional: true }), output),
    options: { layers: { "": "bidirectional_2" } },
  },
  rnn: { model: () => nn.sequential({ rnn: nn.Select(nn.RNN(3, 4, keras), output) }) },
  text: {
    model: () =>
      nn.sequential({ embedding: nn.Embedding(7, 5), rms: nn.RMSNorm(5, { epsilon: 1e-6 }), head: nn.Linear(5, 2) }),
  },
  attention: { model: () => new SelfAttention() },
};

describe("Keras's weights", () => {
  describe.each(Object.entries(cases))("%s", (name, { of = name, model, options }) => {
    it.each(everywhere)("$name", async ({ run }) => {
      const net = nn.fromKeras(model(), weightsOf(of), options);
      const [x, y] = [stored.get(`${of}/x`)!, stored.get(`${of}/y`)!];
      const g = toGraph(net, { inputs: { x: { dtype: x.dtype, shape: x.shape } } });
      expect(disagreement((await run(g, [x]))[0]!, y, 1e-4, 2e-5)).toBeUndefined();
    });
  });

  it("of Keras 2 have names with a number behind a colon", () => {
    const old = new Map([...weightsOf("text")].map(([key, t]) => [`${key.slice(key.indexOf("/") + 1)}:0`, t]));
    const now = nn.fromKeras(cases.text!.model(), weightsOf("text")).state();
    expect(nn.fromKeras(cases.text!.model(), old).state()).toEqual(now);
  });

  const attempt = (model: nn.Layer, of: string, options?: nn.KerasOptions) => {
    const before = model.state();
    let message = "";
    try {
      nn.fromKeras(model, weightsOf(of), options);
    } catch (error) {
      expect(error).toBeInstanceOf(ModelError);
      message = (error as ModelError).message;
    }
    expect(model.state()).toEqual(before);
    return message;
  };
  it.each([
    [
      "a layer that is not there",
      nn.sequential({ fc: nn.Linear(4, 2) }),
      "lstm",
      {},
      /fc: there is no layer "fc"(.|\n)*sequential_3\/dense/,
    ],
    [
      "a tensor that nothing takes",
      nn.sequential({ conv: nn.Conv1d(3, 4, 3, { bias: false }) }),
      "conv1d",
      {},
      /sequential_2\/ln\/gamma: no layer/,
    ],
    [
      "a bias that Keras has not",
      nn.sequential({ conv: nn.Conv1d(3, 4, 3), ln: nn.LayerNorm(4) }),
      "conv1d",
      {},
      /conv: .*nothing for bias/,
    ],
    [
      "another size",
      nn.sequential({ rnn: nn.Select(nn.RNN(3, 5, keras), output) }),
      "rnn",
      {},
      /rnn: weight_ih_l0 has shape/,
    ],
    [
      "another reset",
      nn.sequential({ rnn: nn.Select(nn.GRU(3, 4, { bidirectional: true }), output) }),
      "gru_before",
      { layers: { rnn: "bidirectional_2" } },
      /rnn: .*reset is before/,
    ],
    [
      "two directions for one",
      nn.sequential({ rnn: nn.Select(nn.LSTM(3, 4), output) }),
      "bidirectional",
      { layers: { rnn: "bidirectional" } },
      /rnn: .*two directions, ours one/,
    ],
    [
      "one direction for two",
      nn.sequential({ rnn: nn.Select(nn.LSTM(3, 4, { bidirectional: true }), output) }),
      "lstm",
      { layers: { rnn: "lstm" } },
      /rnn: .*one direction, ours two/,
    ],
    [
      "a name of ours that is none",
      nn.sequential({ fc: nn.Linear(4, 2) }),
      "lstm",
      { layers: { cf: "dense" } },
      /cf: the model has no such layer/,
    ],
    [
      "too few names for a stack",
      nn.sequential({ rnn: nn.Select(nn.LSTM(3, 4, { layers: 2 }), output) }),
      "lstm",
      { layers: { rnn: "lstm" } },
      /rnn: takes 2 of Keras's layers/,
    ],
    [
      "another flattened shape",
      convnet(),
      "convnet",
      { layers: separable, flattened: { fc: [5, 2, 2] } },
      /fc: a flattened/,
    ],
    ["options that are none", nn.sequential({ fc: nn.Linear(4, 2) }), "lstm", { order: true } as never, /"order"/],
  ] as const)("%s is told", (_, model, of, options, message) => {
    expect(attempt(model as nn.Layer, of, options)).toMatch(message);
  });
});
