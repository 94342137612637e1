/** Finds the communities of graphs from the few nodes that say theirs: `wasmith train models/gnn`. */

import { type Goal, losses, optim, program, type SessionOf, type TrainRun } from "wasmith";
import { randomOf } from "wasmith/data";
import { floats } from "../values.js";
import { type Graphs, graphs, propagated } from "./graphs.js";
import { GraphNetwork } from "./model.js";
import { drawing } from "./picture.js";

const net = new GraphNetwork();
const edges = { dtype: "i64", shape: ["edges"] } as const;
const inputs = { said: ["nodes", 1], from: edges, to: edges } as const;
const crossEntropy = losses.bceWithLogits();

const communities = program(
  net,
  {
    learn: {
      inputs: { ...inputs, community: ["nodes"] },
      run: (ctx, { said, from, to, community }) => ({
        loss: ctx.minimize(crossEntropy(net(ctx, said, from, to), community), net, optim.Adam({ lr: 2e-3 }), {
          clip: optim.clipNorm(1),
        }),
      }),
    },
    predict: {
      inputs,
      run: (ctx, { said, from, to }) => ({ score: net(ctx, said, from, to) }),
    },
  },
  { fit: false },
);
export default communities;
type Session = SessionOf<typeof communities>;

const graphsOfStep = 16;
const stepsOfEpoch = 50;

export const fit = { epochs: 30 };
export const goal: Goal = {
  figure: "accuracy",
  atLeast: 0.77,
  baseline: { name: "label propagation", value: 0.663 },
};

export async function train(session: Session, { epochs, seed, report }: TrainRun) {
  const random = randomOf(seed);
  for (let epoch = 0; epoch < epochs; epoch++) {
    let sum = 0;
    for (let i = 0; i < stepsOfEpoch; i++) {
      const { said, from, to, community } = graphs(graphsOfStep, random);
      sum += Number((await session.learn({ said, from, to, community })).loss);
    }
    await report({ loss: sum / stepsOfEpoch });
  }
}

const scores = async (session: Session, { said, from, to }: Graphs) =>
  floats((await session.run({ said, from, to }, { entry: "predict" })).score);

/** Share of the silent nodes whose community is found, in 200 graphs that were not seen. */
export async function measure(session: Session) {
  const test = graphs(200, randomOf(42));
  const silent = Array.from(test.said.keys()).filter((i) => test.said[i] === 0);
  const accuracy = (found: Float32Array) =>
    silent.filter((i) => found[i]! > 0 === (test.community[i] === 1)).length / silent.length;
  return { accuracy: accuracy(await scores(session, test)), propagation: accuracy(propagated(test)) };
}

/** A graph: colours say the community that was found, squares the nodes that said theirs, crosses the errors. */
export async function show(session: Session) {
  const one = graphs(1, randomOf(11));
  return { "communities.svg": drawing(one, await scores(session, one)) };
}
