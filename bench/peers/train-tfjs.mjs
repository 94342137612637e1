/**
 * Training steps of bench/train-cases.ts in TensorFlow.js on one thread: in its wasm backend, or in plain JavaScript where that lacks a gradient
 * (of convolution and max pooling). Arguments: model, fields of a batch as JSON, milliseconds.
 */
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import "@tensorflow/tfjs-backend-cpu";
import { setThreadsCount, version_wasm } from "@tensorflow/tfjs-backend-wasm";
import { batchOf, measureSteps, peerWarmUp } from "./train.mjs";

const [name, fields, budget] = process.argv.slice(2);
const { dense, lstm, dropout, conv2d, maxPooling2d, flatten } = layers.layers;
// Speed does not depend on the initialiser; the default one needs a QR decomposition that the core alone lacks.
const cells = (more) => lstm({ units: 50, recurrentInitializer: "glorotUniform", ...more });
const crossEntropy = (labels, logits) => tf.losses.softmaxCrossEntropy(labels, logits);

const models = {
  convnet: {
    backend: "cpu",
    // Images come as [batch, 1, 32, 32]; layers take channels last, which one channel is as well.
    input: (x) => tf.reshape(x, [-1, 32, 32, 1]),
    layers: () => [
      conv2d({ inputShape: [32, 32, 1], filters: 6, kernelSize: 5, activation: "relu" }),
      maxPooling2d({ poolSize: 2 }),
      conv2d({ filters: 16, kernelSize: 5, activation: "relu" }),
      maxPooling2d({ poolSize: 2 }),
      flatten(),
      dense({ units: 120, activation: "relu" }),
      dense({ units: 84, activation: "relu" }),
      dense({ units: 10 }),
    ],
    optimizer: () => tf.train.momentum(0.01, 0.9),
    loss: crossEntropy,
  },
  mlp: {
    backend: "wasm",
    layers: () => [
      dense({ inputShape: [784], units: 256, activation: "relu" }),
      dense({ units: 128, activation: "tanh" }),
      dense({ units: 10 }),
    ],
    optimizer: () => tf.train.adam(1e-3),
    loss: crossEntropy,
  },
  lstm: {
    backend: "wasm",
    layers: () => [
      cells({ inputShape: [60, 1], returnSequences: true }),
      dropout({ rate: 0.2 }),
      cells({ returnSequences: true }),
      dropout({ rate: 0.2 }),
      cells(),
      dropout({ rate: 0.2 }),
      dense({ units: 1 }),
    ],
    optimizer: () => tf.train.adam(1e-3),
    loss: "meanSquaredError",
  },
};

const chosen = models[name];
setThreadsCount(1);
await tf.setBackend(chosen.backend);
const { x, y } = batchOf(JSON.parse(fields));
const inputs = (chosen.input ?? ((t) => t))(tf.tensor(x.data, x.shape));
const targets =
  y.dtype === "i32" ? tf.cast(tf.oneHot(tf.tensor1d(y.data, "int32"), 10), "float32") : tf.tensor(y.data, y.shape);
const model = layers.sequential({ layers: chosen.layers() });
model.compile({ optimizer: chosen.optimizer(), loss: chosen.loss });
const step = () => model.trainOnBatch(inputs, targets);
await measureSteps(step, `TensorFlow.js ${version_wasm}, ${chosen.backend}`, Number(budget), { warmUp: peerWarmUp });
process.exit(0);
