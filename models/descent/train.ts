/** A lesson on gradients and what is done with them, on handwritten digits: `wasmith train models/descent`. */

import {
  F,
  type Goal,
  grad,
  losses,
  nn,
  optim,
  program,
  type SessionOf,
  schedules,
  type TrainRun,
  type Value,
} from "wasmith";
import { type Chart, drawCharts } from "wasmith/callbacks";
import { randomOf } from "wasmith/data";
import { thinned } from "../curves.js";
import { digitRows } from "../data/digits.js";
import { floats, numbers } from "../values.js";
import { Deep, Perceptron } from "./model.js";

const rate = 0.2;
const batchSize = 64;
const large = { batchSize: 512, factor: 8 };
/** What there was before hidden layers. */
const linear = nn.Linear(784, 10);
const crossEntropy = losses.crossEntropy();

// The same network four times: its first weights are copied from one to the others.
const byHand = new Perceptron();
const races = { sgd: new Perceptron(), momentum: new Perceptron(), adam: new Perceptron() };
const optimizers = {
  sgd: optim.SGD({ lr: rate }),
  momentum: optim.SGD({ lr: 0.1, momentum: 0.9 }),
  adam: optim.Adam({ lr: 2e-3 }),
};
// With a batch 8 times as large, and a rate that is.
const batches = {
  small: new Perceptron(),
  large: new Perceptron(),
  scaled: new Perceptron(),
  warmedUp: new Perceptron(),
};
const { normal, xavierNormal, kaimingNormal } = nn.init;
const deep = {
  tanhTiny: new Deep({ activation: "tanh", init: normal(0, 0.01) }),
  tanhXavier: new Deep({ activation: "tanh", init: xavierNormal() }),
  sigmoidXavier: new Deep({ activation: "sigmoid", init: xavierNormal() }),
  reluXavier: new Deep({ activation: "relu", init: xavierNormal() }),
  reluKaiming: new Deep({ activation: "relu", init: kaimingNormal() }),
};
const batch = { x: ["batch", 784], y: { dtype: "i32", shape: ["batch"] } } as const;

const lesson = program(
  { byHand, linear, ...races, ...batches, ...deep },
  {
    /** The loss, and its gradients in two ways, as one vector each. */
    gradients: {
      inputs: batch,
      run(ctx, { x, y }) {
        const parameters = ctx.parameters(byHand).map((p) => p.value);
        const loss = crossEntropy(byHand(ctx, x), y);
        const vector = (parts: readonly Value[]) => F.cat(parts.map((part) => part.flatten()));
        return {
          loss,
          byHand: vector(byHand.gradients(ctx, x, F.oneHot(y, 10))),
          byGrad: vector(grad(loss, parameters)),
        };
      },
    },
    /** One step of all that see the same batches. */
    race: {
      inputs: batch,
      run(ctx, { x, y }) {
        const loss = crossEntropy(byHand(ctx, x), y);
        const gradients = byHand.gradients(ctx, x, F.oneHot(y, 10));
        ctx.parameters(byHand).forEach(({ variable, value }, i) => {
          ctx.assign(variable, value.sub(gradients[i]!.mul(rate)));
        });
        const learn = (name: keyof typeof races) =>
          ctx.minimize(crossEntropy(races[name](ctx, x), y), races[name], optimizers[name]);
        return {
          byHand: loss,
          sgd: learn("sgd"),
          momentum: learn("momentum"),
          adam: learn("adam"),
          linear: ctx.minimize(crossEntropy(linear(ctx, x), y), linear, optim.SGD({ lr: rate })),
        };
      },
    },
    /** One step of the deep networks: losses, and the deviation of what each layer hands on. */
    signals: {
      inputs: batch,
      run(ctx, { x, y }) {
        const steps = Object.values(deep).map((net) => {
          const { logits, signals } = net(ctx, x);
          const loss = crossEntropy(logits, y);
          return {
            loss: ctx.minimize(loss, net, optim.SGD({ lr: 0.05 })),
            deviations: F.stack(signals.map((s) => s.std())),
            slopes: F.stack(grad(loss, signals).map((s) => s.norm())),
          };
        });
        return {
          losses: F.stack(steps.map((s) => s.loss)),
          deviations: F.stack(steps.map((s) => s.deviations)),
          slopes: F.stack(steps.map((s) => s.slopes)),
        };
      },
    },
    smallBatch: {
      inputs: batch,
      run: (ctx, { x, y }) => ({
        small: ctx.minimize(crossEntropy(batches.small(ctx, x), y), batches.small, optim.SGD({ lr: 0.1 })),
      }),
    },
    largeBatch: {
      inputs: batch,
      run(ctx, { x, y }) {
        const lr = 0.1 * large.factor;
        const step = (net: Perceptron, schedule: schedules.Schedule) =>
          ctx.minimize(crossEntropy(net(ctx, x), y), net, optim.SGD(), { schedule });
        return {
          large: step(batches.large, schedules.constant(0.1)),
          scaled: step(batches.scaled, schedules.constant(lr)),
          warmedUp: step(batches.warmedUp, schedules.warmup(lr, 40)),
        };
      },
    },
    predict: { inputs: { x: ["batch", 784] }, run: (ctx, { x }) => ({ logits: byHand(ctx, x) }) },
    score: {
      inputs: batch,
      run(ctx, { x, y }) {
        const right = (net: nn.Layer) => net(ctx, x).argMax(1).eq(y.cast("i64")).cast("f32").mean();
        return Object.fromEntries(
          Object.entries({ byHand, linear, ...races, ...batches }).map(([name, net]) => [name, right(net)]),
        );
      },
    },
  },
);
export default lesson;
type Session = SessionOf<typeof lesson>;

export const fit = { epochs: 10 };
export const goal: Goal = {
  figure: "accuracy",
  atLeast: 0.92,
  baseline: { name: "softmax regression, trained as the network by hand", value: 0.887 },
};

/** Losses of all steps by the name of the network, and what the deep networks handed on in their first step. */
const curves: Record<string, number[]> = {};
let first: { readonly deviations: Float32Array; readonly slopes: Float32Array } | undefined;
const note = (named: Readonly<Record<string, number>>) => {
  for (const [name, loss] of Object.entries(named)) {
    curves[name] ??= [];
    curves[name].push(loss);
  }
};
const named = (values: Float32Array) => Object.fromEntries(Object.keys(deep).map((name, i) => [name, values[i]!]));

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  for (const name of Object.keys(races)) session.copyState("byHand.", `${name}.`);
  for (const name of Object.keys(batches)) session.copyState("byHand.", `${name}.`);
  const data = (await digitRows("train")).shuffle({ seed });
  for (let epoch = 0; epoch < epochs; epoch++) {
    for await (const batch of data.batch(batchSize).epoch(epoch)) {
      note(numbers(await session.run(batch, { entry: "race" })));
      note(numbers(await session.run(batch, { entry: "smallBatch" })));
      if (epoch > 1) continue;
      const { losses, deviations, slopes } = await session.run(batch, { entry: "signals" });
      note(named(floats(losses)));
      first ??= { deviations: floats(deviations), slopes: floats(slopes) };
    }
    for await (const batch of data.batch(large.batchSize).epoch(epoch))
      note(numbers(await session.run(batch, { entry: "largeBatch" })));
    const { byHand: accuracy, adam } = await scores(session);
    await report({ loss: curves.byHand!.at(-1)!, accuracy: accuracy!, adam: adam! });
  }
}

/** Shares of the test pictures that the networks know. */
async function scores(session: Session) {
  return numbers(await session.run(await (await digitRows("test")).batch(5000).at(0), { entry: "score" }));
}

/**
 * How far gradients by hand and by finite differences are from those by `grad`, relative to the largest: of all weights, and of some that
 * are moved a little to both sides.
 */
async function disagreement(session: Session) {
  const batch = await (await digitRows("test")).batch(batchSize).at(0);
  const gradients = await session.run(batch, { entry: "gradients" });
  const [hand, byGrad] = [floats(gradients.byHand), floats(gradients.byGrad)];
  const largest = Math.max(...byGrad.map(Math.abs));
  const weight = session.getState("byHand.output.weight");
  const random = randomOf(1);
  const start = byGrad.length - 10 - weight.data.length;
  let finite = 0;
  for (let n = 0; n < 20; n++) {
    const at = random.integer(weight.data.length);
    const loss = async (by: number) => {
      const moved = floats(weight).slice();
      moved[at]! += by;
      session.setState("byHand.output.weight", moved);
      return numbers(await session.run(batch, { entry: "gradients", outputs: ["loss"] })).loss!;
    };
    const slope = ((await loss(0.02)) - (await loss(-0.02))) / 0.04;
    finite = Math.max(finite, Math.abs(slope - byGrad[start + at]!));
  }
  session.setState("byHand.output.weight", weight);
  return { byHand: Math.max(...hand.map((g, i) => Math.abs(g - byGrad[i]!))) / largest, finite: finite / largest };
}

export async function measure(session: Session) {
  const { byHand: accuracy, ...others } = await scores(session);
  const { byHand, finite } = await disagreement(session);
  return { accuracy: accuracy!, ...others, gradientByHand: byHand, gradientByDifferences: finite };
}

/** Curves of the optimisers, of the batches, and of the deep networks with what their layers hand on. */
export function show(): Promise<Record<string, string>> {
  const epochs = (names: readonly string[]) =>
    Object.fromEntries(
      names.map((name) => {
        const losses = curves[name]!;
        const each = name in batches && name !== "small" ? large.batchSize : batchSize;
        return [name, thinned(losses, 40).map(([step, loss]) => [(step * each) / 10_000, loss] as const)];
      }),
    );
  const layers = (values: Float32Array) =>
    Object.fromEntries(
      Object.keys(deep).map((name, i) => [
        name,
        Array.from(values.subarray(i * 8, i * 8 + 8), (v, l) => [l + 1, v + 1e-12] as const),
      ]),
    );
  const loss = (title: string, names: readonly string[]): Chart => ({
    title,
    axis: "epochs",
    lines: epochs(names),
    logarithmic: true,
  });
  return Promise.resolve({
    "optimisers.svg": drawCharts("Ways to go down", [
      loss("Loss: by hand, SGD, momentum, Adam", ["byHand", ...Object.keys(races)]),
      loss("Loss: batches of 64 and of 512", Object.keys(batches)),
    ]),
    "signals.svg": drawCharts("Eight layers, by their first weights", [
      {
        title: "Deviation of what a layer hands on",
        axis: "layer",
        lines: layers(first!.deviations),
        logarithmic: true,
      },
      { title: "Length of the gradient there", axis: "layer", lines: layers(first!.slopes), logarithmic: true },
      { ...loss("Loss of 8 layers", Object.keys(deep)), logarithmic: false },
    ]),
  });
}
