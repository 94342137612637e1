/** `wasmith train`: seeds, interruption, going on, and what it leaves behind. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CommandLine, cli, isBuilt, packageUrl } from "./command-line.js";

const line = new CommandLine();
afterAll(() => rmSync(line.folder, { recursive: true, force: true }));

const callbacks = new URL("../../dist/callbacks.js", import.meta.url).href;
/** Trains with dropout, moments, running statistics and callbacks with a memory. STOP is the batch of the run that interrupts it. */
const source = `import { losses, nn, optim, trainStep } from ${JSON.stringify(packageUrl)};
import { earlyStopping, reduceOnPlateau } from ${JSON.stringify(callbacks)};
const net = nn.sequential({ fc1: nn.Linear(2, 4), norm: nn.BatchNorm1d(4), drop: nn.Dropout(0.2), fc2: nn.Linear(4, 1) });
export default trainStep(net, {
  inputs: { x: ["n", 2] }, targets: { y: ["n", 1] }, outputs: ["y"], loss: losses.mse(), optimizer: optim.Adam({ lr: 0.1 }),
});
const all = { x: Float32Array.from({ length: 40 }, (_, i) => Math.sin(i)), y: Float32Array.from({ length: 20 }, (_, i) => Math.cos(i)) };
let batches = 0;
async function* parts() {
  for (let i = 0; i < 5; i++) {
    if (++batches === Number(process.env.STOP)) {
      process.kill(process.pid, process.env.SIGNAL ?? "SIGINT");
      // So short a training would be over before a signal is delivered.
      await new Promise((done) => setTimeout(done, 50));
    }
    yield { x: all.x.subarray(8 * i, 8 * i + 8), y: all.y.subarray(4 * i, 4 * i + 4) };
  }
}
export const dataset = process.env.STOP ? () => parts : all;
export const validation = all;
export const fit = { epochs: 2, batchSize: process.env.STOP ? undefined : 4, callbacks: [reduceOnPlateau({ patience: 0, minDelta: 0.1 }), earlyStopping({ patience: 9, restoreBest: true })] };
`;

describe.runIf(isBuilt)("wasmith train", () => {
  beforeAll(() => {
    writeFileSync(line.path("net.mjs"), source);
  });
  const train = (...flags: string[]) => line.run("train", "net.mjs", "--no-report", ...flags);
  const read = (name: string) => readFileSync(line.path(name));

  it("of 2 epochs and 2 more is training of 4, and seeds all that is random", { timeout: 120_000 }, () => {
    const whole = train(
      "--epochs",
      "4",
      "--seed",
      "3",
      "--checkpoint",
      "whole.safetensors",
      "--weights",
      "weights.safetensors",
    );
    expect(whole.stderr).toBe("");
    expect(
      whole.stdout.match(
        /^epoch \d\/4 {2}loss [\d.e-]+ {2}validation loss [\d.e-]+ {2}rate [\d.]+ {2}[\d.]+ [mµ]?s$/gm,
      ),
    ).toHaveLength(4);
    expect(train("--seed", "3", "--checkpoint", "part.safetensors").stdout).toMatch(/^epoch 2\/2 /m);
    // Seeds of initial weights do not matter any more.
    const rest = train("--epochs", "4", "--resume", "part.safetensors");
    expect(rest.stderr).toBe("");
    expect(rest.stdout).toMatch(/^epoch 3\/4 (.|\n)*^epoch 4\/4 /m);
    expect(rest.stdout).not.toMatch(/^epoch 2/m);
    expect(read("part.safetensors").equals(read("whole.safetensors"))).toBe(true);
    expect(read("weights.safetensors").includes("fc2.weight")).toBe(true);
    train("--epochs", "4", "--seed", "4", "--checkpoint", "other.safetensors");
    expect(read("other.safetensors").equals(read("whole.safetensors"))).toBe(false);
  });

  it("goes on from where it was interrupted, in the midst of an epoch", { timeout: 120_000 }, () => {
    const stopping = (stop: string, signal: string, ...flags: string[]) => {
      Object.assign(process.env, { STOP: stop, SIGNAL: signal });
      try {
        return train(...flags);
      } finally {
        delete process.env.STOP;
        delete process.env.SIGNAL;
      }
    };
    const whole = stopping("999", "SIGINT", "--epochs", "3", "--checkpoint", "all.safetensors");
    expect(whole.status, whole.stderr).toBe(0);
    const cut = stopping("8", "SIGINT", "--epochs", "3", "--checkpoint", "cut.safetensors");
    expect(cut.status).toBe(130);
    expect(cut.stderr).toBe("interrupted; --resume cut.safetensors goes on\n");
    const again = stopping("5", "SIGTERM", "--epochs", "3", "--resume", "cut.safetensors");
    expect(again.status).toBe(143);
    const rest = stopping("999", "SIGINT", "--epochs", "3", "--checkpoint", "cut.safetensors", "--resume");
    expect(rest.status, rest.stderr).toBe(0);
    expect(read("cut.safetensors").equals(read("all.safetensors"))).toBe(true);
  });

  it("says what it can't do", () => {
    expect(train("--resume").stderr).toMatch(/--resume: it is not said from which checkpoint/);
    expect(train("--resume", "absent.safetensors")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("absent"),
    });
  });

  it("leaves nothing beside the user's file when it is killed, and names lines of the source", {
    timeout: 60_000,
  }, async () => {
    mkdirSync(line.path("src/node_modules/part"), { recursive: true });
    writeFileSync(
      line.path("src/node_modules/part/package.json"),
      '{ "name": "part", "type": "module", "exports": { "import": "./part.js" } }',
    );
    writeFileSync(line.path("src/node_modules/part/part.js"), "export const where = import.meta.url;");
    writeFileSync(
      line.path("src/beside.ts"),
      "export const fail = (what: string): never => {\n  throw new TypeError(what);\n};\n",
    );
    const start =
      'import { where } from "part";\nimport { fail } from "./beside.js";\nimport { basename } from "node:path";\n';
    writeFileSync(
      line.path("src/slow.ts"),
      `${start}console.log(basename(where));\nawait new Promise((done) => setTimeout(done, 1e5));\nexport default fail;\n`,
    );
    writeFileSync(line.path("src/fails.ts"), `${start}\n\nfail(basename(where) as string);\n`);
    const child: ChildProcess = spawn(process.execPath, [cli, "train", "src/slow.ts"], { cwd: line.folder });
    const said = await new Promise<string>((tell) => child.stdout!.once("data", (data) => tell(String(data))));
    expect(said).toBe("part.js\n");
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGKILL");
    await ended;
    const { status, stderr } = line.run("train", "src/fails.ts");
    expect(status).toBe(1);
    expect(stderr).toMatch(/its code threw TypeError: part\.js\n.*src\/beside\.ts:2:9\)?\n.*src\/fails\.ts:6:1/);
    expect(readdirSync(line.path("src")).sort()).toEqual(["beside.ts", "fails.ts", "node_modules", "slow.ts"]);
  });
});
