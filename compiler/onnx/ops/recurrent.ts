/**
 * LSTM, GRU and RNN. The inputs of all steps are projected at once; a scan over time does the rest. Rows past a sequence's
 * length leave the state as it is, in either direction, and give zeros.
 */
import {
  asType,
  clamp,
  concatenate,
  expandDims,
  full,
  np,
  permute,
  reshapeTo,
  sliceAxis,
  split,
  stack,
  takeAt,
  where,
} from "../../../ir/build.js";
import { scanOp } from "../../../ir/control-build.js";
import type { Dim } from "../../../ir/dim.js";
import { typeText, type Value } from "../../../ir/graph.js";
import * as act from "../../../ir/ops/activation.js";
import { iota } from "../../../ir/ops/constant.js";
import { dotGeneral } from "../../../ir/ops/contraction.js";
import { sigmoid, tanh } from "../../../ir/ops/elementwise.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../context.js";
import { dynamicParameters, quantizeTo } from "./quantize.js";

type Activation = (x: Value) => Value;

interface Parameters {
  readonly alpha: number | undefined;
  readonly beta: number | undefined;
}

const ACTIVATIONS: Readonly<Record<string, (p: Parameters) => Activation>> = {
  Sigmoid: () => (x) => sigmoid([x]),
  Tanh: () => (x) => tanh([x]),
  Relu: () => (x) => act.relu([x]),
  Affine:
    ({ alpha = 1, beta = 0 }) =>
    (x) =>
      np.add(np.mul(x, alpha), beta),
  LeakyRelu:
    ({ alpha = 0.01 }) =>
    (x) =>
      act.leakyRelu([x], { slope: alpha }),
  ThresholdedRelu:
    ({ alpha = 1 }) =>
    (x) =>
      act.thresholdedRelu([x], { threshold: alpha }),
  ScaledTanh:
    ({ alpha = 1, beta = 1 }) =>
    (x) =>
      np.mul(tanh([np.mul(x, beta)]), alpha),
  HardSigmoid:
    ({ alpha = 0.2, beta = 0.5 }) =>
    (x) =>
      act.hardSigmoid([x], { alpha, beta }),
  Elu:
    ({ alpha = 1 }) =>
    (x) =>
      act.elu([x], { alpha }),
  Softsign: () => (x) => act.softsign([x]),
  Softplus: () => (x) => act.softplus([x], { beta: 1 }),
};

/** Which activations take an entry of activation_alpha or activation_beta. */
const TAKES_ALPHA = new Set(["Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"]);
const TAKES_BETA = new Set(["Affine", "ScaledTanh", "HardSigmoid"]);

/** The activations of all directions, in order, with the node's clipping before each. */
function readActivations(c: NodeContext, defaults: readonly string[], directions: number): readonly Activation[] {
  const names = c.attrs.strings("activations", undefined) ?? Array.from({ length: directions }, () => defaults).flat();
  const alphas = [...c.attrs.floats("activation_alpha", [])];
  const betas = [...c.attrs.floats("activation_beta", [])];
  const limit = c.attrs.float("clip", undefined);
  if (names.length !== defaults.length * directions)
    throw c.error(`${names.length} activations were given, not ${defaults.length * directions}`);
  return names.map((given) => {
    const name = Object.keys(ACTIVATIONS).find((k) => k.toLowerCase() === given.toLowerCase());
    if (name === undefined)
      throw c.error(`the activation "${given}" is not one of ${Object.keys(ACTIVATIONS).join(", ")}`);
    const alpha = TAKES_ALPHA.has(name) ? alphas.shift() : undefined;
    const beta = TAKES_BETA.has(name) ? betas.shift() : undefined;
    const f = ACTIVATIONS[name]!({ alpha, beta });
    return limit === undefined ? f : (x) => f(clamp(x, -limit, limit));
  });
}

/** One step: the projected input row and the old state (hidden part first) give the new state. */
type Step = (x: Value, state: readonly Value[]) => readonly Value[];

interface Direction {
  /** Weights of this direction: [gates · H, …]. */
  readonly w: Value;
  readonly r: Value;
  /** Biases of the input and of the recurrence: [gates · H]. */
  readonly wb: Value | undefined;
  readonly rb: Value | undefined;
  readonly activations: readonly Activation[];
  /** What the product with r sees of the state. */
  readonly seen: (state: Value) => Value;
}

const times = (x: Value, w: Value): Value =>
  dotGeneral([x, w], { batchA: [], batchB: [], contractA: [x.type.shape.length - 1], contractB: [1] });

interface Layer {
  readonly states: number;
  readonly defaults: readonly string[];
  /** Whether the recurrent bias is added to the projected inputs; the whole of it or without the last gate. */
  readonly step: (
    c: NodeContext,
    d: Direction,
    hidden: number,
    index: number,
  ) => { readonly bias: Value | undefined; readonly step: Step };
}

/** The operands of the products: x is [sequence, batch, features], w and r are [directions, gates · H, …]. */
interface Operands {
  readonly x: Value;
  readonly w: Value;
  readonly r: Value;
  readonly seen: (state: Value) => Value;
}

const floats = (c: NodeContext): Operands => ({ x: c.input(0), w: c.input(1), r: c.input(2), seen: (state) => state });

function runLayer(c: NodeContext, layer: Layer, { x: given, w, r, seen }: Operands = floats(c)): readonly Bound[] {
  const batchFirst = c.attrs.int("layout", 0) === 1;
  const x = batchFirst ? permute(given, [1, 0, 2]) : given;
  const direction = c.attrs.oneOf("direction", ["forward", "reverse", "bidirectional"], "forward");
  const directions = direction === "bidirectional" ? 2 : 1;
  if (w.type.shape[0] !== directions)
    throw c.error(`its weights ${typeText(w.type)} are not of ${directions} directions`);
  const hidden = r.type.shape[2]!;
  if (typeof hidden !== "number") throw c.error("the hidden size is dynamic");
  const activations = readActivations(c, layer.defaults, directions);
  const [length, batch] = x.type.shape as [Dim, Dim, Dim];
  const { dtype } = x.type;
  const bias = c.optional(3);
  const lengths = c.optional(4);
  const live =
    lengths &&
    reshapeTo(np.lt(iota([], { dtype: "i32", shape: [length, batch], axis: 0 }), asType(lengths, "i32")), [
      length,
      batch,
      1,
    ]);
  const initial = Array.from({ length: layer.states }, (_, k) => {
    const state = c.optional(5 + k);
    return state && (batchFirst ? permute(state, [1, 0, 2]) : state);
  });

  const runs = Array.from({ length: directions }, (_, d) => {
    const [wb, rb] = bias ? split(takeAt(bias, 0, d), 0, 2) : [];
    const own: Direction = {
      w: takeAt(w, 0, d),
      r: takeAt(r, 0, d),
      wb,
      rb,
      seen,
      activations: activations.slice(d * layer.defaults.length, (d + 1) * layer.defaults.length),
    };
    const { bias: early, step } = layer.step(c, own, hidden, d);
    const projected = times(x, own.w);
    const rows = early ? np.add(projected, early) : projected;
    const start = initial.map((s) => (s ? takeAt(s, 0, d) : full(dtype, [batch, hidden], 0)));
    const made = scanOp(
      { carried: start, inputs: live ? [rows, live] : [rows], reverse: direction === "reverse" || d === 1 },
      (state, [row, alive]) => {
        const next = step(row!, state);
        if (!alive) return { carried: next, scanned: [next[0]!] };
        return { carried: next.map((s, k) => where(alive, s, state[k]!)), scanned: [where(alive, next[0]!, 0)] };
      },
    );
    return { y: made.scanned[0]!, finals: made.carried };
  });
  // [sequence, directions, batch, hidden], or with the batch first.
  const y = stack(
    runs.map((run) => run.y),
    1,
  );
  const finals = Array.from({ length: layer.states }, (_, k) =>
    stack(
      runs.map((run) => run.finals[k]!),
      0,
    ),
  );
  if (!batchFirst) return [y, ...finals];
  return [permute(y, [2, 0, 1, 3]), ...finals.map((s) => permute(s, [1, 0, 2]))];
}

const addBoth = (a: Value | undefined, b: Value | undefined): Value | undefined => (a && b ? np.add(a, b) : (a ?? b));

const lstm: Layer = {
  states: 2,
  defaults: ["Sigmoid", "Tanh", "Tanh"],
  step: (c, { r, wb, rb, seen, activations }, hidden, index) => {
    const [f, g, h] = activations as [Activation, Activation, Activation];
    const coupled = c.attrs.flag("input_forget", false);
    const peepholes = c.optional(7);
    const [pi, po, pf] = peepholes ? split(takeAt(peepholes, 0, index), 0, [hidden, hidden, hidden]) : [];
    const look = (x: Value, p: Value | undefined, cell: Value) => (p ? np.add(x, np.mul(p, cell)) : x);
    return {
      bias: addBoth(wb, rb),
      step: (x, [before, cell]) => {
        const [i, o, forget, candidate] = split(np.add(x, times(seen(before!), r)), 1, 4) as [
          Value,
          Value,
          Value,
          Value,
        ];
        const input = f(look(i, pi, cell!));
        const keep = coupled ? np.sub(1, input) : f(look(forget, pf, cell!));
        const next = np.add(np.mul(keep, cell!), np.mul(input, g(candidate)));
        return [np.mul(f(look(o, po, next)), h(next)), next];
      },
    };
  },
};

const gru: Layer = {
  states: 1,
  defaults: ["Sigmoid", "Tanh"],
  step: (c, { r, wb, rb, activations }, hidden) => {
    const [f, g] = activations as [Activation, Activation];
    const resetAfter = c.attrs.flag("linear_before_reset", false);
    // With the reset after the product, the last gate's recurrent bias is reset too.
    const early =
      rb && resetAfter ? concatenate([sliceAxis(rb, 0, 0, 2 * hidden), full(rb.type.dtype, [hidden], 0)], 0) : rb;
    const late = rb && resetAfter ? sliceAxis(rb, 0, 2 * hidden, hidden) : undefined;
    const gates = sliceAxis(r, 0, 0, 2 * hidden);
    const own = sliceAxis(r, 0, 2 * hidden, hidden);
    return {
      bias: addBoth(wb, early),
      step: (x, [before]) => {
        const [xz, xr, xh] = split(x, 1, 3) as [Value, Value, Value];
        let z: Value;
        let candidate: Value;
        if (resetAfter) {
          const [hz, hr, hh] = split(times(before!, r), 1, 3) as [Value, Value, Value];
          z = f(np.add(xz, hz));
          candidate = g(np.add(xh, np.mul(f(np.add(xr, hr)), late ? np.add(hh, late) : hh)));
        } else {
          const [hz, hr] = split(times(before!, gates), 1, 2) as [Value, Value];
          z = f(np.add(xz, hz));
          candidate = g(np.add(xh, times(np.mul(f(np.add(xr, hr)), before!), own)));
        }
        return [np.add(np.mul(np.sub(1, z), candidate), np.mul(z, before!))];
      },
    };
  },
};

const rnn: Layer = {
  states: 1,
  defaults: ["Tanh"],
  step: (_, { r, wb, rb, activations }) => ({
    bias: addBoth(wb, rb),
    step: (x, [before]) => [activations[0]!(np.add(x, times(before!, r)))],
  }),
};

/**
 * ONNX Runtime's LSTM with weights of bytes, [directions, inputs, 4 · H]: what is multiplied with them is rounded to 255 steps of its
 * range, the input once, the state at each step.
 */
export const dynamicQuantizeLstm: ImportOp = (c) => {
  const rounded = (x: Value): Value => {
    const { scale, zero } = dynamicParameters(x);
    return np.mul(np.sub(asType(quantizeTo(x, scale, zero, "u8"), "f32"), zero), scale);
  };
  /** Scales and zero points are one a direction, or one a column. */
  const weight = (i: number, scale: number): Value => {
    const columns = (v: Value) => (v.type.shape.length === 1 ? expandDims(v, 1, 2) : expandDims(v, 1));
    const whole = asType(c.input(i), "i32");
    const zero = c.optional(scale + 1);
    const shifted = zero ? np.sub(whole, asType(columns(zero), "i32")) : whole;
    return permute(np.mul(asType(shifted, "f32"), columns(c.input(scale))), [0, 2, 1]);
  };
  return runLayer(c, lstm, { x: rounded(c.input(0)), w: weight(1, 8), r: weight(2, 10), seen: rounded });
};

const row =
  (layer: Layer): ImportOp =>
  (c) =>
    runLayer(c, layer);

export const recurrent = {
  LSTM: row(lstm),
  GRU: row(gru),
  RNN: row(rnn),
} as const satisfies Readonly<Record<string, OpRow>>;
