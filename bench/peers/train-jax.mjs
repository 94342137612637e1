/**
 * Training steps of bench/train-cases.ts in jax-js on one thread of its wasm backend, each step one compiled function. Arguments: model,
 * fields of a batch as JSON, milliseconds.
 */
import { readFileSync } from "node:fs";
import { defaultDevice, init, jit, lax, nn, numpy as np, random, tree, valueAndGrad } from "@jax-js/jax";
import { batchOf, measureSteps, peerWarmUp } from "./train.mjs";

const [name, fields, budget] = process.argv.slice(2);
await init("wasm");
defaultDevice("wasm");

const dense = (x, { w, b }) => np.dot(x, w).add(b);
const pooled = (x) => {
  const [n, c, h, w] = x.shape;
  return x.reshape([n, c, h / 2, 2, w / 2, 2]).max([3, 5]);
};
const convolved = (x, { w, b }) => pooled(nn.relu(lax.convGeneralDilated(x, w, [1, 1], "VALID").add(b)));

const models = {
  convnet: {
    shapes: [
      [
        [6, 1, 5, 5],
        [6, 1, 1],
      ],
      [
        [16, 6, 5, 5],
        [16, 1, 1],
      ],
      [[400, 120], [120]],
      [[120, 84], [84]],
      [[84, 10], [10]],
    ],
    logits: ([c1, c2, f1, f2, f3], x) => {
      const features = convolved(convolved(x, c1), c2);
      const flat = features.reshape([features.shape[0], -1]);
      return dense(nn.relu(dense(nn.relu(dense(flat, f1)), f2)), f3);
    },
    optimizer: "momentum",
  },
  mlp: {
    shapes: [
      [[784, 256], [256]],
      [[256, 128], [128]],
      [[128, 10], [10]],
    ],
    logits: ([f1, f2, f3], x) => dense(np.tanh(dense(nn.relu(dense(x, f1)), f2)), f3),
    optimizer: "adam",
  },
};

/** How a parameter and its slots change: each takes (parameter, gradient, slots, number of the step). */
const optimizers = {
  momentum: {
    slots: 1,
    update: (p, g, [v]) => {
      const next = v.mul(0.9).add(g);
      return [p.sub(next.ref.mul(0.01)), [next]];
    },
  },
  adam: {
    slots: 2,
    update: (p, g, [m, v], t) => {
      const mean = m.mul(0.9).add(g.ref.mul(0.1));
      const square = v.mul(0.999).add(g.ref.mul(g).mul(0.001));
      const corrected = (x, beta) => x.div(np.subtract(1, np.exp(t.ref.mul(Math.log(beta)))));
      const change = corrected(mean.ref, 0.9).div(np.sqrt(corrected(square.ref, 0.999)).add(1e-8));
      return [p.sub(change.mul(1e-3)), [mean, square]];
    },
  },
};

const { shapes, logits, optimizer } = models[name];
const { slots, update } = optimizers[optimizer];
const filled = (shape, i) => {
  const fanIn = shape.length === 4 ? shape[1] * shape[2] * shape[3] : shape[0];
  return random.uniform(random.key(i), shape, { minval: -1, maxval: 1 }).mul(1 / Math.sqrt(fanIn));
};
const loss = (params, x, y) => {
  const [batch] = y.shape;
  return nn
    .logSoftmax(logits(params, x))
    .mul(y)
    .sum()
    .mul(-1 / batch);
};
const compiled = jit((params, state, t, x, y) => {
  const [value, grads] = valueAndGrad(loss)(tree.ref(params), x, y);
  const after = params.map((layer, i) =>
    Object.fromEntries(["w", "b"].map((k) => [k, update(layer[k], grads[i][k], state[i][k], t)])),
  );
  const part = (which) => after.map(({ w, b }) => ({ w: w[which], b: b[which] }));
  return [value, part(0), part(1), t.add(1)];
});

const { x, y } = batchOf(JSON.parse(fields));
const images = np.array(x.data).reshape(x.shape);
const targets = nn.oneHot(np.array(y.data), 10);
let params = shapes.map(([w, b], i) => ({ w: filled(w, i), b: np.zeros(b) }));
const zeros = (shape) => Array.from({ length: slots }, () => np.zeros(shape));
let state = shapes.map(([w, b]) => ({ w: zeros(w), b: zeros(b) }));
let t = np.array(1);
const step = async () => {
  let value;
  [value, params, state, t] = compiled(params, state, t, images.ref, targets.ref);
  return (await value.data())[0];
};
const manifest = new URL("../node_modules/@jax-js/jax/package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, "utf8"));
await measureSteps(step, `jax-js ${version}, wasm`, Number(budget), { warmUp: peerWarmUp });
process.exit(0);
