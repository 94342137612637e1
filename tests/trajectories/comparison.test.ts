/** docs/comparison: its programs do what PyTorch's do, and take no more characters. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile, type Program } from "../../index.js";
import type { Tensor } from "../../runtime/index.js";
import { comparison, counts, folder, median, systems } from "../../scripts/generate-comparison.js";
import { withModule } from "../docs/run-page.js";
import { hasData } from "../nn/reference-data.js";
import { type FollowOptions, follow } from "./follow.js";

interface Followed extends FollowOptions {
  /** The recorded run. */
  readonly run: string;
  /** What the run was recorded without. */
  readonly without?: readonly [text: string, replacement: string];
}

type Feeds = Readonly<Record<string, Tensor>>;

/** All tokens but the last, or but the first. */
function tokens(all: Tensor, from: 0 | 1): Tensor {
  const [n, steps] = all.shape as readonly [number, number];
  const kept = Array.from(all.data as BigInt64Array).filter((_, i) => i % steps !== (from === 0 ? steps - 1 : 0));
  return { dtype: "i64", shape: [n, steps - 1], data: BigInt64Array.from(kept) };
}

const runs: Readonly<Record<string, Followed>> = {
  convnet: { run: "convnet_sgd" },
  "lstm-stack": { run: "lstm_stack_adam", without: ["nn.Dropout(0.2)", "nn.Dropout(0)"] },
  "rnn-sentiment": { run: "rnn_sentiment_adam" },
  "transformer-lm": {
    run: "transformer_lm_adamw",
    series: ["loss"],
    feeds: (f: Feeds) => ({ x: tokens(f.tokens!, 0), y: tokens(f.tokens!, 1) }),
  },
  unet: { run: "segmentation_unet", series: ["loss"] },
  seq2seq: { run: "seq2seq_attention_teacher_forcing", series: ["loss"] },
  vae: { run: "vae_adam" },
  gan: { run: "gan_ttur" },
  dqn: { run: "dqn_target_network" },
  ppo: { run: "ppo_clip" },
  dann: {
    run: "dann_gradient_reversal",
    feeds: (f: Feeds, step) => ({
      ...f,
      factor: { dtype: "f32", shape: [], data: Float32Array.of(2 / (1 + Math.exp((-10 * step) / 60)) - 1) },
    }),
  },
  // It draws its noise, so that only the loss before the first update is the recorded one.
  "dp-sgd": { run: "dp_sgd", series: ["loss"], most: 1, feeds: ({ x, y }: Feeds) => ({ x: x!, y: y! }) },
};

async function programOf(name: string, without: Followed["without"]): Promise<Program> {
  const code = readFileSync(join(folder, `${name}.js`), "utf8");
  if (without) expect(code).toContain(without[0]);
  return withModule(without ? code.replace(...without) : code, `comparison-${name}`, async (path) => {
    const { default: program } = (await import(/* @vite-ignore */ path)) as { readonly default: Program };
    return program;
  });
}

describe("programs of docs/comparison", () => {
  it("are twelve", () => {
    expect(Object.keys(runs).toSorted()).toEqual(Object.keys(systems).toSorted());
    expect(Object.keys(systems)).toHaveLength(12);
  });

  it.runIf(hasData).each(Object.keys(systems))("%s follows PyTorch", { timeout: 300_000 }, async (name) => {
    const { run, without, ...options } = runs[name]!;
    const artifact = await compile(await programOf(name, without), { variants: ["simd128"] });
    const followed = await follow(run, artifact, "simd128", 1, { most: 12, ...options });
    expect(followed.departures).toEqual([]);
    expect(followed.steps).toBe(options.most ?? 12);
  });

  it("take no more characters than PyTorch's, median", () => {
    expect(median(counts().map((c) => c.ratio))).toBeLessThanOrEqual(1);
  });

  it("are counted in docs/COMPARISON.md: npx tsx scripts/generate-comparison.ts", () => {
    expect(readFileSync(join(folder, "../COMPARISON.md"), "utf8")).toBe(comparison());
  });
});
