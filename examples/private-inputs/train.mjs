/**
 * Learns the model that server.mjs answers by, from lines `ham|spam <tab> message` (UCI's SMS Spam Collection), masked and as they are, and says how
 * many of every fifth line it reads right: `node examples/private-inputs/train.mjs sms.tsv[.gz] [MODEL.wasm]`, after `npm run build`.
 */
import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { gunzipSync } from "node:zlib";
import { compile, losses, metrics, nn, optim, toGraph, trainStep } from "wasmith";
import { load } from "wasmith/runtime";
import { bagOfWords, buckets, maskText } from "./mask.js";

const [source, target] = process.argv.slice(2);
const file = readFileSync(source);
const lines = (source.endsWith(".gz") ? gunzipSync(file) : file).toString().trim().split("\n");
const messages = lines.map((line) => line.split("\t"));

function dataset(rows, seen) {
  const data = new Float32Array(rows.length * buckets);
  rows.forEach(([, text], i) => {
    data.set(bagOfWords(seen(text)), i * buckets);
  });
  const y = Int32Array.from(rows, ([label]) => (label === "spam" ? 1 : 0));
  return { x: { dtype: "f32", shape: [rows.length, buckets], data }, y };
}

const isTest = (_, i) => i % 5 === 0;
const test = messages.filter(isTest);
const train = messages.filter((row, i) => !isTest(row, i));
const inputs = { x: ["batch", buckets] };

async function learn(seen) {
  const model = nn.sequential({ linear: nn.Linear(buckets, 2) });
  const program = trainStep(model, {
    inputs,
    targets: { y: { dtype: "i32", shape: ["batch"] } },
    loss: losses.crossEntropy(),
    optimizer: optim.Adam({ lr: 0.005 }),
    metrics: { accuracy: metrics.accuracy() },
  });
  const session = await load(await compile(program, { name: "spam-training", variants: ["simd128"] }), { threads: 1 });
  await session.fit(dataset(train, seen), { epochs: 20, batchSize: 64, progress: false });
  const { metrics: held } = await session.evaluate(dataset(test, seen), { batchSize: 500 });
  model.loadState(await session.exportSafetensors());
  session.dispose();
  return { model, accuracy: held.accuracy };
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const spam = test.filter(([label]) => label === "spam").length;
console.log(`always ham: ${percent(1 - spam / test.length)} of ${test.length} messages`);
console.log(`as they are: ${percent((await learn((text) => text)).accuracy)}`);
const { model, accuracy } = await learn((text) => maskText(text));
console.log(`masked: ${percent(accuracy)}`);
if (target) {
  const artifact = await compile(toGraph(model, { inputs, outputs: ["logits"] }), { name: basename(target, ".wasm") });
  await artifact.write(dirname(target));
}
