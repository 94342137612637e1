import { concatenate, np, permute, reshapeTo, split, stack, takeAt, where } from "../../../ir/build.js";
import { scanOp } from "../../../ir/control-build.js";
import { linear as linearOf, matmul } from "../../../ir/einsum.js";
import type { Value } from "../../../ir/graph.js";
import { relu } from "../../../ir/ops/activation.js";
import { full } from "../../../ir/ops/constant.js";
import { sigmoid, tanh } from "../../../ir/ops/elementwise.js";
import { softmax } from "../../../ir/ops/normalize.js";
import type { Attributes, Builder, Builders, Inputs } from "./builder.js";
import { sizes } from "./builder.js";

/** One step of a cell: x projected, the state, its projection; gives the new state, hidden part first. */
type Cell = (x: Value, state: readonly Value[], hidden: Value) => readonly Value[];

const gates = (v: Value, n: number) => split(v, 1, n);

const cells: Readonly<Record<string, Cell>> = {
  tanh: (x, _, h) => [tanh([np.add(x, h)])],
  relu: (x, _, h) => [relu([np.add(x, h)])],
  lstm: (x, [, c], h) => {
    const [i, f, g, o] = gates(np.add(x, h), 4) as [Value, Value, Value, Value];
    const next = np.add(np.mul(sigmoid([f]), c!), np.mul(sigmoid([i]), tanh([g])));
    return [np.mul(sigmoid([o]), tanh([next])), next];
  },
  gru: (x, [before], h) => {
    const [xr, xz, xn] = gates(x, 3) as [Value, Value, Value];
    const [hr, hz, hn] = gates(h, 3) as [Value, Value, Value];
    const z = sigmoid([np.add(xz, hz)]);
    const n = tanh([np.add(xn, np.mul(sigmoid([np.add(xr, hr)]), hn))]);
    return [np.add(np.mul(np.sub(1, z), n), np.mul(z, before!))];
  },
};

/** torch.nn.RNN, LSTM or GRU of the given cell: output, then the final states. */
const recurrent =
  (kind: "rnn" | "lstm" | "gru"): Builder =>
  (v, attributes) => {
    const {
      num_layers = 1,
      bidirectional = false,
      batch_first = false,
      nonlinearity = "tanh",
    } = attributes as {
      num_layers?: number;
      bidirectional?: boolean;
      batch_first?: boolean;
      nonlinearity?: string;
    };
    const cell = cells[kind === "rnn" ? nonlinearity : kind]!;
    const finals: Value[][] = kind === "lstm" ? [[], []] : [[]];
    let x = batch_first ? permute(v.x!, [1, 0, 2]) : v.x!;
    for (let layer = 0; layer < num_layers; layer++) {
      const outputs = (bidirectional ? [false, true] : [false]).map((reverse, direction) => {
        const at = layer * (bidirectional ? 2 : 1) + direction;
        const made = runDirection(
          x,
          v,
          `l${layer}${reverse ? "_reverse" : ""}`,
          at,
          cell,
          finals.length,
          attributes,
          reverse,
        );
        made.carried.forEach((s, i) => {
          finals[i]!.push(s);
        });
        return made.scanned[0]!;
      });
      x = concatenate(outputs, 2);
    }
    return [batch_first ? permute(x, [1, 0, 2]) : x, ...finals.map((states) => stack(states))];
  };

function runDirection(
  x: Value,
  v: Inputs,
  suffix: string,
  at: number,
  cell: Cell,
  states: number,
  { hidden_size }: Attributes,
  reverse: boolean,
) {
  const weight = (name: string) => v[`${name}_${suffix}`];
  const start = ["h0", "c0"].slice(0, states).map((name) => {
    const given = v[name];
    return given ? takeAt(given, 0, at) : full("f32", [sizes(x)[1]!, hidden_size as number], 0);
  });
  const projected = linearOf(x, weight("weight_ih")!, weight("bias_ih"));
  return scanOp({ carried: start, inputs: [projected], reverse }, (state, [row]) => {
    const hidden = linearOf(state[0]!, weight("weight_hh")!, weight("bias_hh"));
    const next = cell(row!, state, hidden);
    return { carried: next, scanned: [next[0]!] };
  });
}

const transposed = (x: Value): Value => {
  const rank = sizes(x).length;
  return permute(x, [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2]);
};

/** Softmax of scaled scores, applied to values; `mask` edits the scores. */
function attention(q: Value, k: Value, v: Value, mask: (scores: Value) => Value): Value {
  const scores = np.mul(matmul(q, transposed(k)), 1 / Math.sqrt(sizes(q).at(-1)!));
  return matmul(softmax([mask(scores)], { axis: sizes(scores).length - 1 }), v);
}

export const recurrentAndAttention: Builders = {
  rnn_tanh: recurrent("rnn"),
  rnn_relu_2layer_bidir: recurrent("rnn"),
  rnn_sentiment_shape: recurrent("rnn"),
  lstm: recurrent("lstm"),
  lstm_batch_first_2layer: recurrent("lstm"),
  lstm_2layer_bidir: recurrent("lstm"),
  lstm_nobias: recurrent("lstm"),
  gru: recurrent("gru"),
  gru_2layer_bidir: recurrent("gru"),
  sdpa_causal: ({ q, k, v, m }) => attention(q!, k!, v!, (s) => where(m!, s, -Infinity)),
  sdpa_additive_mask: ({ q, k, v, m }) => attention(q!, k!, v!, (s) => np.add(s, m!)),
  multi_head_attention: ({ x, in_w, in_b, out_w, out_b }) => {
    const [length, batch, width] = sizes(x!) as [number, number, number];
    const heads = 2;
    const [q, k, v] = split(linearOf(x!, in_w!, in_b!), 2, 3).map((p) =>
      permute(reshapeTo(p, [length, batch, heads, width / heads]), [1, 2, 0, 3]),
    ) as [Value, Value, Value];
    const y = attention(q, k, v, (s) => s);
    return linearOf(reshapeTo(permute(y, [2, 0, 1, 3]), [length, batch, width]), out_w!, out_b!);
  },
};
