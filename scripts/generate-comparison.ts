/**
 * Writes docs/COMPARISON.md, which counts the characters of the programs in docs/comparison and of their PyTorch counterparts:
 * `npx tsx scripts/generate-comparison.ts`. tests/trajectories/comparison.test.ts sees to it that it is up to date.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const folder = fileURLToPath(new URL("../docs/comparison/", import.meta.url));

/** The systems, by the names of their files. */
export const systems: Readonly<Record<string, string>> = {
  convnet: "Convolutional classifier, SGD with momentum",
  "lstm-stack": "Three LSTMs with dropout, regression",
  "rnn-sentiment": "Bidirectional RNN of two layers over embeddings, sentiment",
  "transformer-lm": "Transformer language model: tied embeddings, AdamW, warm-up, clipping",
  unet: "U-Net with group norm, cross-entropy and Dice",
  seq2seq: "Translator with attention: GRU, teacher forcing, padding, clipping",
  vae: "Variational autoencoder",
  gan: "GAN with two learning rates",
  dqn: "Q-learning with a target network",
  ppo: "Actor-critic with PPO's clipped objective",
  dann: "Domain-adversarial network with gradient reversal",
  "dp-sgd": "Differentially private SGD by per-sample gradients",
};

const comments = { js: /\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, py: /^\s*#.*$/gm };

/** Characters of a program without imports and comments, where runs of white space count as one. */
function characters(name: string, language: "js" | "py"): number {
  const code = readFileSync(join(folder, `${name}.${language}`), "utf8").replace(comments[language], "");
  const own = code.replace(/^(import|from)\s.*$/gm, "");
  if (/^\s*(import|from)\b/m.test(own)) throw new Error(`${name}.${language}: an import is longer than its line`);
  return own.replace(/\s+/g, " ").trim().length;
}

export interface Count {
  readonly name: string;
  readonly wasmith: number;
  readonly torch: number;
  readonly ratio: number;
}

export function counts(): readonly Count[] {
  return Object.keys(systems).map((name) => {
    const [wasmith, torch] = [characters(name, "js"), characters(name, "py")];
    return { name, wasmith, torch, ratio: wasmith / torch };
  });
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function comparison(): string {
  const rows = counts();
  const ratio = median(rows.map((r) => r.ratio));
  const table = rows.map(({ name, wasmith, torch, ratio }) => {
    const links = `[wasmith](comparison/${name}.js), [PyTorch](comparison/${name}.py)`;
    return `| ${systems[name]} | ${links} | ${wasmith} | ${torch} | ${ratio.toFixed(3)} |`;
  });
  return `# The same systems in wasmith and PyTorch

<!-- Written by scripts/generate-comparison.ts -->

Twelve systems, each written in both: the model, the loss and one step of training. The median of the ratios is
**${ratio.toFixed(3)}** (wasmith's characters to PyTorch's).

| System | Programs | wasmith | PyTorch | Ratio |
|---|---|---|---|---|
${table.join("\n")}

How it is counted: imports and comments are left out on both sides, and runs of white space count as one character. wasmith's side is
JavaScript, since Python's is untyped as well; in TypeScript the parameters of \`forward\` have types beside. wasmith's programs say what goes in
(\`inputs\`, \`targets\`), since they are compiled ahead of time, and give \`evaluate\` and \`predict\` too where they use \`trainStep\`. Data, compiling,
loading and loops over batches are on neither side.

Where the systems fit \`trainStep\`, PyTorch's lines for clearing gradients, going backwards and stepping have no counterpart. Where they need
\`program\`, wasmith takes more: JavaScript has no operators for values (\`a.mul(b)\`), options stand in braces, modules are given the context
(\`net(ctx, x)\`), and inputs and outputs have names. Its Dice loss is ready-made, PyTorch's is written out.

The tests train each of wasmith's programs from the weights and on the batches of a run that PyTorch recorded, and compare the losses.
`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(join(folder, "../COMPARISON.md"), comparison());
