/** Loads the artefact that quickstart.mjs wrote, in a process of its own, and classifies held-out digits. */

const start = performance.now();
const { load } = await import("wasmith/runtime");
const session = await load(process.argv[2], { threads: 1 });
const blank = new Float32Array(32 * 32);
await session.run({ x: { dtype: "f32", shape: [1, 1, 32, 32], data: blank } });
const firstAnswer = performance.now() - start;

const { digits, draw, take } = await import("./digits.mjs");
const test = digits("test");
const shown = take(test, 0, 4);
const { logits } = await session.run({ x: shown.x });
const answers = [0, 1, 2, 3].map((n) => {
  const row = Array.from(logits.data.subarray(n * 10, n * 10 + 10));
  return row.indexOf(Math.max(...row));
});
const pictures = answers.map((_, n) => draw(shown, n));
for (let line = 0; line < pictures[0].length; line++) console.log(pictures.map((p) => p[line]).join("   "));
console.log(answers.map((a, n) => `${a} (is ${shown.y.data[n]})`.padEnd(28)).join("   "));

let right = 0;
for (let from = 0; from < test.count; from += 500) {
  const part = take(test, from, 500);
  const { logits: l } = await session.run({ x: part.x });
  for (let n = 0; n < 500; n++) {
    const row = Array.from(l.data.subarray(n * 10, n * 10 + 10));
    if (row.indexOf(Math.max(...row)) === Number(part.y.data[n])) right++;
  }
}
console.log(`\nload to first answer: ${firstAnswer.toFixed(0)} ms in a fresh process (${session.report.variant})`);
console.log(`right: ${right} of ${test.count} held-out digits`);
session.dispose();
