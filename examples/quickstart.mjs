/**
 * wasmith's main job, from start to end: a ConvNet is defined, compiled, trained from wasm on handwritten digits, written to disk
 * as an inference artefact, loaded in a fresh process, and asked about digits that it has never seen.
 */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { compile, losses, metrics, nn, optim, schedules, toGraph, trainStep } from "wasmith";
import { load } from "wasmith/runtime";
import { digits } from "./digits.mjs";

const model = nn.sequential({
  conv1: nn.Conv2d(1, 6, 5),
  relu1: nn.ReLU(),
  pool1: nn.MaxPool2d(2),
  conv2: nn.Conv2d(6, 16, 5),
  relu2: nn.ReLU(),
  pool2: nn.MaxPool2d(2),
  flatten: nn.Flatten(),
  fc1: nn.Linear(400, 120),
  relu3: nn.ReLU(),
  fc2: nn.Linear(120, 84),
  relu4: nn.ReLU(),
  fc3: nn.Linear(84, 10),
});
const inputs = { x: ["batch", 1, 32, 32] };

const train = digits("train");
const test = digits("test");
const epochs = 10;
const batchSize = 32;

const compileStart = performance.now();
const program = trainStep(model, {
  inputs,
  targets: { y: { dtype: "i64", shape: ["batch"] } },
  loss: losses.crossEntropy(),
  optimizer: optim.SGD({ lr: 0.02, momentum: 0.9 }),
  schedule: schedules.cosine(0.02, (epochs * train.count) / batchSize),
  metrics: { accuracy: metrics.accuracy() },
});
// Trained right here, so one variant is enough; what is shipped below gets all four.
const training = await compile(program, { name: "lenet-training", variants: ["simd128"] });
console.log(`compiled the training step in ${(performance.now() - compileStart).toFixed(0)} ms`);

const session = await load(training);
const started = performance.now();
await session.fit(
  { x: train.x, y: train.y },
  {
    epochs,
    batchSize,
    callbacks: {
      onEpoch: (e) => console.log(`epoch ${e.epoch + 1}: loss ${e.loss.toFixed(4)}, ${e.seconds.toFixed(1)} s`),
    },
  },
);
const seconds = (performance.now() - started) / 1000;
const { metrics: held } = await session.evaluate({ x: test.x, y: test.y }, { batchSize: 500 });
console.log(`trained on ${train.count} digits in ${seconds.toFixed(1)} s (${session.report.variant})`);
console.log(`accuracy on ${test.count} held-out digits: ${(100 * held.accuracy).toFixed(2)} %\n`);

model.loadState(await session.exportSafetensors());
session.dispose();
const artifact = await compile(toGraph(model, { inputs, outputs: ["logits"] }), { name: "lenet" });
const folder = mkdtempSync(join(tmpdir(), "wasmith-quickstart-"));
try {
  await artifact.write(folder);
  const classify = fileURLToPath(new URL("./classify.mjs", import.meta.url));
  const { status } = spawnSync(process.execPath, [classify, join(folder, "lenet.wasm")], { stdio: "inherit" });
  const code = artifact.wasm.simd128;
  console.log(
    `code: ${(code.length / 1024).toFixed(1)} KB (${(gzipSync(code).length / 1024).toFixed(1)} KB gzipped), weights: ${(artifact.weights.length / 1024).toFixed(0)} KB`,
  );
  console.log(
    `files: ${readdirSync(folder)
      .map((f) => `${f} ${statSync(join(folder, f)).size}`)
      .join(", ")}`,
  );
  process.exitCode = status ?? 1;
  if (held.accuracy < 0.97) {
    console.error(`accuracy ${held.accuracy} is below 0.97`);
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
