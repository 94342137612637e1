/** Long runs and killed runs: memory stays flat, nothing is lost, and what goes on ends in the same bits. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { serialize, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F, losses, nn, optim, trainStep } from "../../compiler/dsl/index.js";
import { load, type TrainingArtifact, type TrainingSession } from "../../runtime/index.js";
import { workerFile } from "../setup/build-worker.js";

/** How often the run is killed. */
const kills = Number(process.env.WASMITH_KILLS ?? 6);

const script = fileURLToPath(new URL(`train-${process.pid}.mjs`, workerFile));
let folder: string;
let artifact: TrainingArtifact;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "wasmith-endurance-"));
  await build({
    entryPoints: [fileURLToPath(new URL("train-child.ts", import.meta.url))],
    outfile: script,
    bundle: true,
    format: "esm",
    platform: "node",
    external: ["cli-progress"],
    logLevel: "error",
  });
  const model = nn.sequential({
    fc1: nn.Linear(4, 16),
    drop: nn.Dropout(0.25),
    act: nn.Tanh(),
    fc2: nn.Linear(16, 1),
    flat: nn.Flatten(0),
  });
  artifact = (await compile(
    trainStep(model, {
      inputs: { x: ["batch", 4] },
      targets: { y: ["batch"] },
      loss: losses.mse(),
      optimizer: optim.Adam({ lr: 0.01 }),
    }),
  )) as unknown as TrainingArtifact;
  const { manifest, wasm, weights } = artifact as unknown as { manifest: unknown; wasm: unknown; weights: unknown };
  writeFileSync(join(folder, "artifact"), serialize({ manifest, wasm, weights }));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  rmSync(script, { force: true });
});

it("10,000 steps leave heap and wasm memory flat", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const session = (await load(artifact)) as TrainingSession;
  const x = Float32Array.from({ length: 8000 }, (_, i) => Math.sin(i));
  const heap: number[] = [];
  const memory: number[] = [];
  await session.fit(
    { x, y: x.slice(0, 2000) },
    {
      epochs: 5,
      batchSize: 1,
      progress: false,
      callbacks: {
        onEpoch() {
          collect();
          heap.push(process.memoryUsage().heapUsed);
          memory.push(session.memoryBytes);
        },
      },
    },
  );
  expect(session.getState("fc1.weight").data.every(Number.isFinite as never)).toBe(true);
  expect(new Set(memory).size).toBe(1);
  // 8,000 steps. A number that is kept for each of them would be more.
  expect(Math.min(...heap.slice(2)) - heap[0]!).toBeLessThan(300_000);
  session.dispose();
});

it("a run over [steps, batch] arrays goes on in the midst of an epoch, in the same order of samples", async () => {
  const model = nn.sequential(
    nn.Lambda((v) => F.mean(v, 0)),
    nn.Linear(2, 4),
    nn.Dropout(0.5),
    nn.Linear(4, 1),
  );
  const program = trainStep(model, {
    inputs: { x: [3, "batch", 2] },
    targets: { y: ["batch", 1] },
    loss: losses.mse(),
    optimizer: optim.Adam({ lr: 0.01 }),
  });
  const sequences = (await compile(program)) as unknown as TrainingArtifact;
  const x = {
    dtype: "f32",
    shape: [3, 30, 2],
    data: Float32Array.from({ length: 180 }, (_, i) => Math.sin(i)),
  } as const;
  const data = { x, y: Float32Array.from({ length: 30 }, (_, i) => Math.cos(i)) };
  const options = { epochs: 4, batchSize: 7, shuffle: 5, progress: false };
  const session = (await load(sequences)) as TrainingSession;
  const saved: Uint8Array<ArrayBuffer>[] = [];
  const save = { onBatch: async () => void saved.push(await session.save()) };
  const whole = await session.fit(data, { ...options, callbacks: save });
  const end = await session.save();
  expect(saved).toHaveLength(20);
  for (const at of [0, 4, 8, 13]) {
    await session.restore(saved[at]!);
    // Neither seed nor size is told.
    const rest = await session.fit(data, { epochs: 4, progress: false });
    expect(rest.map((e) => [e.epoch, e.loss])).toEqual(whole.slice(-rest.length).map((e) => [e.epoch, e.loss]));
    expect(await session.save()).toEqual(end);
  }
  session.dispose();
});

describe("a run of a data set of wasmith/data that saves after each batch", () => {
  const start = (checkpoint: string): ChildProcess =>
    spawn(process.execPath, [script, join(folder, "artifact"), checkpoint], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = (child: ChildProcess): Promise<number | null> => new Promise((done) => child.on("close", done));
  const heard = (child: ChildProcess, lines: number): Promise<void> =>
    new Promise((done) => {
      let missing = lines;
      const reader = createInterface({ input: child.stdout! });
      reader.on("line", () => {
        if (--missing === 0) done();
      });
      reader.on("close", done);
    });

  it(`is killed ${kills} times, loses nothing, and ends in the bits of a run that was not`, async () => {
    const [whole, killed] = [join(folder, "whole.safetensors"), join(folder, "killed.safetensors")];
    const reference = start(whole);
    const done = ended(reference);
    reference.stdout!.resume();
    let steps = 0;
    for (let i = 0; i < kills && steps < 300; i++) {
      const child = start(killed);
      const end = ended(child);
      await heard(child, 4 + (i % 3));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
      child.kill("SIGKILL");
      await end;
      expect(existsSync(killed)).toBe(true);
      const session = (await load(artifact)) as TrainingSession;
      await session.restore(killed);
      const counter = session.state.find((s) => s.role === "counter")!.name;
      const now = Number(session.getState(counter).data[0]);
      // All that it said it had saved is there.
      expect(now).toBeGreaterThanOrEqual(steps + 4 + (i % 3));
      steps = now;
      session.dispose();
    }
    const last = start(killed);
    last.stdout!.resume();
    expect(await ended(last)).toBe(0);
    expect(await done).toBe(0);
    expect(readFileSync(killed).equals(readFileSync(whole))).toBe(true);
    expect(readdirSync(folder).filter((f) => f.endsWith(".tmp"))).toEqual([]);
  });
});
