/**
 * Pipelines of transformers.js, as it is, on the models of tests/fixtures/ort: prints what each gives as JSON. With an argument, which is the
 * address of wasmith/ort, on that; else on the onnxruntime-node that it brings.
 */
const [, , address, cache] = process.argv;
if (address) {
  const ort = await import(address);
  ort.env.wasmith.cache = cache;
}
const { env, pipeline, RawImage } = await import("@huggingface/transformers");
env.allowRemoteModels = false;
env.localModelPath = new URL("../fixtures/ort/", import.meta.url).pathname;

/** A picture that is the same everywhere. */
function picture(width, height) {
  const data = Uint8ClampedArray.from({ length: width * height * 3 }, (_, i) => ((i * i * 7 + i * 13) >> 3) & 255);
  return new RawImage(data, width, height, 3);
}
const sound = Float32Array.from({ length: 8000 }, (_, i) => Math.sin(i / 7) * Math.sin(i / 500) + Math.sin(i / 31));
const plain = (x) => (x?.tolist ? x.tolist() : x);

const tasks = {
  "text-classification": ["bert-nli", (run) => run(["it was a good house.", "the old men do not know"], { top_k: 3 })],
  "feature-extraction": [
    "bert-states",
    (run) => run(["this is a line", "another line that is long"], { pooling: "mean", normalize: true }),
  ],
  "token-classification": ["bert-entities", (run) => run("they came to the house with her", { ignore_labels: [] })],
  "zero-shot-classification": ["bert-nli", (run) => run("we go to school", ["work", "home", "school"])],
  "image-classification": ["vit", (run) => run(picture(40, 30), { top_k: 5 })],
  "object-detection": ["yolos", (run) => run(picture(60, 40), { threshold: 0.1 })],
  "automatic-speech-recognition": ["wav2vec2", (run) => run(sound)],
  "automatic-speech-recognition by steps": ["whisper", (run) => run(sound)],
  "text-generation": [
    "gpt2",
    async (run) => [
      await run("we want to go", { max_new_tokens: 12 }),
      await run(["the house", "they find a way to help people"], { max_new_tokens: 6 }),
    ],
  ],
  "text2text-generation": [
    "t5",
    async (run) => [
      await run("the man looked at the house", { max_new_tokens: 10 }),
      await run("go home", { max_new_tokens: 6, num_beams: 1 }),
    ],
  ],
};

const results = {};
for (const [task, [model, use]] of Object.entries(tasks)) {
  try {
    // transformers.js knows no names of devices of a runtime that it does not bring, but "auto".
    const run = await pipeline(task.split(" ")[0], model, address ? { device: "auto" } : {});
    results[task] = plain(await use(run));
    await run.dispose();
  } catch (error) {
    results[task] = `${error.stack}`;
  }
}
console.log(JSON.stringify(results));
