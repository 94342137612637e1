/** The built command line, as a user runs it: output, files, exit codes. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { decode, encode } from "fast-png";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { llama, llamaTiny } from "../../bench/models/llama.js";
import type { GraphProto, ValueInfoProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import type { DType } from "../../ir/dtype.js";
import { writeSafetensors } from "../../runtime/safetensors.js";
import { node, model as onnxModel, tensorInfo } from "../onnx/build.js";

const cli = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));
let folder: string;

function wasmith(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], { cwd: folder, encoding: "utf8" });
  return { status, stdout, stderr };
}

const sequenceInfo = (name: string): ValueInfoProto => ({
  name,
  type: { sequenceType: { elemType: { tensorType: { elemType: 1 } } } },
});

const model = `dim n
graph @scores(%x: f32[n,3]) -> f32[n] {
  %0: f32[n,3] = tanh %x
  %1: f32[n,3] = transpose %0 {perm=[0,1]}
  %2: f32[n] = sum %1 {axes=[1], keepDims=false}
  return %2
}
`;

/** A tile that is not taken without tuning. */
const choiceOf = (attrs: string) => ({
  kind: `dotGeneral(f32[n,48], f32[48,40]) -> f32[n,40] ${attrs}`,
  kernel: "dotGeneral/gemm",
  tile: { mr: 3, nr: 8, fused: { mr: 6, nr: 8 } },
});

describe.runIf(existsSync(cli))("wasmith", () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "wasmith-cli-"));
    writeFileSync(join(folder, "scores.graph"), model);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("compiles to files, runs them, and tells what they hold", () => {
    const compiled = wasmith("compile", "scores.graph", "-o", "out/scores", "--json");
    expect(compiled.stderr).toBe("");
    expect(compiled.status).toBe(0);
    const { paths } = JSON.parse(compiled.stdout) as { paths: string[] };
    expect(paths.map((p) => p.replace(/^.*[\\/]/, ""))).toContain("scores.wasm");
    expect(readdirSync(join(folder, "out")).filter((f) => f.endsWith(".tmp"))).toEqual([]);

    const run = wasmith("run", "out/scores.wasm", "--random", "1", "--dim", "n=2", "--json");
    const [output] = Object.values(JSON.parse(run.stdout) as Record<string, { shape: number[]; data: number[] }>);
    expect(output!.shape).toEqual([2]);
    const again = wasmith("run", "scores.graph", "--random", "1", "--dim", "n=2", "--json");
    expect(again.stdout).toBe(run.stdout);

    expect(wasmith("inspect", "out/scores.wasm").stdout).toMatch(/dim n in 1\.\.∞/);
    expect(wasmith("inspect", "scores.graph", "--stage", "loop").stdout).toMatch(/func @/);
    expect(wasmith("inspect", "scores.graph", "--stage", "wat").stdout).toMatch(/\(module/);
    expect(wasmith("inspect", "scores.graph", "--stage", "plan").stdout).toMatch(/entry main: arena/);
  });

  it("compiles to the same bytes again", () => {
    const read = (name: string) => spawnSync("cat", [join(folder, name)]).stdout;
    for (const out of ["a/m", "b/m"])
      expect(wasmith("compile", "scores.graph", "-o", out, "--single-file").status).toBe(0);
    expect(read("a/m.wasm").equals(read("b/m.wasm"))).toBe(true);
    expect(read("a/m.wasm").length).toBeGreaterThan(0);
  });

  it("explains what a model of pictures saw", () => {
    // Class 0 likes the left half, class 1 the right one.
    const text = `graph @halves(%x: f32[1,1,2,2]) -> f32[1,2] {
  %0: f32[1,1,2,2] = transpose %x {perm=[0,1,3,2]}
  %1: f32[1,2,2] = reshape %0 {shape=[1,2,2]}
  %2: f32[1,2] = sum %1 {axes=[2], keepDims=false}
  return %2
}
`;
    writeFileSync(join(folder, "halves.graph"), text);
    const png = encode({ width: 2, height: 2, data: Uint8Array.of(255, 0, 255, 0), channels: 1, depth: 8 });
    writeFileSync(join(folder, "left.png"), png);
    const { stdout, stderr } = wasmith("explain", "halves.graph", "--input", "left.png", "-o", "why", "--json");
    expect(stderr).toBe("");
    const told = JSON.parse(stdout) as { target: number; scores: { score: number }[]; paths: string[] };
    expect(told.target).toBe(0);
    expect(told.scores.map((s) => s.score)).toEqual([2, 0]);
    expect(told.paths.map((p) => p.replace(/^.*[\\/]/, ""))).toEqual([
      "left.saliency.png",
      "left.smooth-grad.png",
      "left.integrated-gradients.png",
    ]);
    // Red on the left, grey on the right.
    const { width, height, data } = decode(readFileSync(join(folder, told.paths[2]!)));
    const pixel = (x: number) => Array.from(data.subarray((64 * width + x) * 3, (64 * width + x) * 3 + 3));
    expect([width, height]).toEqual([256, 256]);
    expect(pixel(2)).toEqual([230, 40, 30]);
    expect(pixel(253)).toEqual([110, 110, 110]);
    expect(wasmith("explain", "halves.graph", "--input", "left.png", "--method", "grad-cam").stderr).toMatch(
      /gradCam: the model has no convolution/,
    );
    expect(wasmith("explain", "scores.graph", "--input", "left.png").stderr).toMatch(/is not that of pictures/);
  });

  it("encrypts what it compiles, with a key that it makes or is given", () => {
    const compiled = wasmith("compile", "scores.graph", "-o", "secret/m", "--encrypt", "--new-key", "m.key");
    expect(compiled.stderr).toBe("");
    expect(statSync(join(folder, "m.key")).mode & 0o777).toBe(0o600);
    expect(compiled.stdout + compiled.stderr).not.toContain(readFileSync(join(folder, "m.key"), "utf8").trim());
    const run = (...more: string[]) => wasmith("run", "secret/m.wasm", "--random", "1", "--dim", "n=2", ...more);
    expect(run("--key", "m.key").stdout).toBe(wasmith("run", "scores.graph", "--random", "1", "--dim", "n=2").stdout);
    expect(run()).toMatchObject({ status: 1, stderr: expect.stringContaining("an encrypted artefact") });
    expect(run("--key", "scores.graph").stderr).toMatch(/scores\.graph: expected a key of 16 or 32 bytes/);
    expect(wasmith("inspect", "secret/m.wasm", "--key", "m.key").stdout).toMatch(/dim n in/);

    process.env.WASMITH_KEY = Buffer.alloc(16, 5).toString("base64");
    expect(run().stderr).toMatch(/the key is not that of this file/);
    expect(wasmith("compile", "scores.graph", "-o", "secret/m", "--single-file", "--encrypt").status).toBe(0);
    expect(run().status).toBe(0);
    delete process.env.WASMITH_KEY;

    const refused = (...flags: string[]) => wasmith("compile", "scores.graph", "-o", "secret/n", ...flags).stderr;
    expect(refused("--encrypt")).toMatch(/there is no key\n {2}→ --new-key FILE makes one/);
    expect(refused("--encrypt", "--new-key", "m.key")).toMatch(/it is there already/);
    expect(refused("--encrypt", "--key", "missing.key")).toMatch(/missing\.key: can't be read/);
    expect(refused("--key", "m.key")).toMatch(/nothing is encrypted/);
    expect(existsSync(join(folder, "secret/n.wasm"))).toBe(false);
  });

  it("runs passes alone on the text form", () => {
    const { stdout, status } = wasmith("opt", "scores.graph", "--passes", "simplify");
    expect(status).toBe(0);
    expect(stdout).not.toMatch(/transpose/);
  });

  it("dumps every stage", () => {
    expect(wasmith("dump", "scores.graph", "-o", "dump").status).toBe(0);
    const files = readdirSync(join(folder, "dump"));
    for (const end of ["import.graph", ".loop", ".wat", "plan.txt"])
      expect(
        files.some((f) => f.endsWith(end)),
        end,
      ).toBe(true);
  });

  it("exports to ONNX, and compiles what it exported", () => {
    const exported = wasmith("export", "scores.graph", "-o", "scores.onnx", "--json");
    expect(exported.stderr).toBe("");
    expect(JSON.parse(exported.stdout)).toMatchObject({ path: "scores.onnx", opset: 20 });
    expect(readdirSync(folder).filter((f) => f.endsWith(".tmp"))).toEqual([]);
    const run = (model: string) => wasmith("run", model, "--random", "1", "--dim", "n=2", "--json").stdout;
    expect(run("scores.onnx")).toBe(run("scores.graph"));
    expect(wasmith("export", "scores.graph", "--opset", "12").stderr).toMatch(/opset 12 can't be written/);
  });

  it("runs and verifies ONNX files for what their inputs decide", () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", ["n", 3]), tensorInfo("axes", [1], 7), tensorInfo("code", ["m"], 22), sequenceInfo("s")],
      output: [tensorInfo("y", undefined), tensorInfo("z", undefined, 22), sequenceInfo("t")],
      node: [
        node("ReduceSum", ["x", "axes"], ["y"], { keepdims: 0 }),
        node("Identity", ["code"], ["z"]),
        node("SequenceInsert", ["s", "y"], ["t"]),
      ],
    };
    writeFileSync(join(folder, "late.onnx"), encodeModel(onnxModel(graph)));
    const tensor = (name: string, dtype: DType, shape: readonly number[], data: ArrayBufferView) => ({
      name,
      dtype,
      shape,
      data: new Uint8Array(data.buffer),
    });
    const inputs = (axis: bigint, prefix: string) => [
      tensor(`${prefix}axes`, "i64", [1], BigInt64Array.of(axis)),
      tensor(`${prefix}x`, "f32", [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6)),
      tensor(`${prefix}s.0`, "f32", [1], Float32Array.of(7)),
      // The file has no name for i4.
      tensor(`${prefix}code`, "i8", [2], Int8Array.of(-8, 7)),
    ];
    writeFileSync(join(folder, "in.safetensors"), writeSafetensors(inputs(1n, "")));
    const run = wasmith("run", "late.onnx", "--inputs", "in.safetensors", "--json");
    expect(run.status).toBe(0);
    expect(run.stderr).toContain("compiled for these inputs: axes is i64[1] {1}");
    expect(JSON.parse(run.stdout)).toEqual({
      y: { dtype: "f32", shape: [2], data: [6, 15] },
      z: { dtype: "i4", shape: [2], data: [-8, 7] },
      "t.0": { dtype: "f32", shape: [1], data: [7] },
      "t.1": { dtype: "f32", shape: [2], data: [6, 15] },
    });

    const outputs = (prefix: string, ...sums: number[]) => [
      tensor(`${prefix}y`, "f32", [sums.length], Float32Array.from(sums)),
      tensor(`${prefix}z`, "i8", [2], Int8Array.of(-8, 7)),
    ];
    const io = [...inputs(0n, "case0.in."), ...outputs("case0.out.", 5, 7, 9), ...inputs(1n, "case1.in.")];
    writeFileSync(join(folder, "io.safetensors"), writeSafetensors([...io, ...outputs("case1.out.", 6, 15)]));
    const good = wasmith("verify", "late.onnx", "--io", "io.safetensors");
    expect(good.stdout).toMatch(/compiled for: axes is i64\[1\] \{0\}(.|\n)*\{1\}(.|\n)*2 cases agree/);
    expect(good.status).toBe(0);
    writeFileSync(join(folder, "io.safetensors"), writeSafetensors([...io, ...outputs("case1.out.", 6, 16)]));
    const wrong = wasmith("verify", "late.onnx", "--io", "io.safetensors");
    expect(wrong.stdout).toMatch(/case 1, output y: /);
    expect(wrong.status).toBe(1);
  });

  it("tunes on this machine, stores the choices, and compiles with stored ones", { timeout: 300_000 }, () => {
    const product = "{batchA=[], batchB=[], contractA=[1], contractB=[0]}";
    writeFileSync(
      join(folder, "product.graph"),
      `dim n\ngraph @product(%x: f32[n,48], %w: f32[48,40]) -> f32[n,40] {\n  %0: f32[n,40] = dotGeneral %x, %w ${product}\n  return %0\n}\n`,
    );
    const tuned = wasmith("compile", "product.graph", "-o", "tuned/product", "--tune", "--tune-dim", "n=64", "--json");
    expect(tuned.status, tuned.stderr).toBe(0);
    expect(tuned.stderr).toMatch(/tuning: round 1 of \d+/);
    const { paths } = JSON.parse(tuned.stdout) as { paths: string[] };
    const file = paths.find((p) => p.endsWith("product.tuning.json"))!;
    const text = readFileSync(join(folder, file), "utf8");
    expect(JSON.parse(text)).toMatchObject({ format: "wasmith tuning", version: 1, measured: { dims: { n: 64 } } });

    const choice = { ...choiceOf(product), ms: 1, untunedMs: 2 };
    writeFileSync(join(folder, "stored.json"), JSON.stringify({ ...JSON.parse(text), choices: [choice] }));
    const stored = wasmith("compile", "product.graph", "-o", "stored/product", "--tuning", "stored.json");
    expect(stored.stderr).toBe("");
    expect(wasmith("inspect", "stored/product.wasm", "--stage", "manifest").stdout).toContain("_3x8_");

    writeFileSync(join(folder, "old.json"), JSON.stringify({ ...JSON.parse(text), version: 0 }));
    for (const [words, ...flags] of [
      ["give one of them", "--tune", "--tuning", "stored.json"],
      ["add --tune", "--tune-dim", "n=4"],
      ["needs one value", "--tune", "--tune-dim", "n=1..4"],
      ["version 0", "--tuning", "old.json"],
      ["read as JSON", "--tuning", "product.graph"],
      ["read as JSON", "--tuning", "absent.json"],
    ] as const) {
      const wrong = wasmith("compile", "product.graph", ...flags);
      expect(wrong.status).toBe(1);
      expect(wrong.stderr).toContain(words);
    }
  });

  it("says what is wrong, and exits with 1 for a bad model and 2 for bad usage", () => {
    writeFileSync(join(folder, "bad.graph"), model.replace("axes=[1]", "axes=[5]"));
    const bad = wasmith("compile", "bad.graph");
    expect(bad.status).toBe(1);
    expect(bad.stderr).toMatch(/axis 5/);
    expect(wasmith("compile", "absent.graph").status).toBe(1);
    expect(wasmith("compile", "scores.txt").status).toBe(1);
    expect(wasmith("frobnicate").status).toBe(2);
    expect(wasmith("compile", "scores.graph", "--variants", "fast").status).toBe(2);
    expect(wasmith("--help").status).toBe(0);
  });

  it("answers wrong usage with one line and where help is", () => {
    const usage = (...args: string[]) => {
      const { status, stdout, stderr } = wasmith(...args);
      expect(status, args.join(" ")).toBe(2);
      expect(stdout).toBe("");
      const lines = stderr.trim().split("\n");
      expect(lines, stderr).toHaveLength(2);
      expect(lines[0]).toMatch(/^error: /);
      expect(lines[1]).toMatch(/^\(see wasmith (\w+ )?--help\)$/);
      return lines[0];
    };
    expect(usage("frobnicate")).toMatch(/unknown command 'frobnicate'/);
    expect(usage("compile", "scores.graph", "--variant", "simd128")).toMatch(/unknown option '--variant'/);
    expect(usage("compile")).toMatch(/missing required argument/);
    expect(usage("compile", "scores.graph", "--variants", "")).toMatch(/choose from/);
    expect(usage("compile", "scores.graph", "--max-threads", "-1")).toMatch(/whole number of at least 1/);
    expect(usage("compile", "m.onnx", "--dim", "n=5..2")).toMatch(/5\.\.2 is empty/);
    expect(usage("compile", "m.onnx", "--dim", "n=-1")).toMatch(/write name=value/);
    expect(usage("train", "m.mjs", "--epochs", "-1")).toMatch(/at least 1/);
    expect(usage("train", "m.mjs", "--seed", "x")).toMatch(/whole number/);
    expect(usage("verify", "m.onnx", "--io", "a", "--rtol", "-1")).toMatch(/at least 0/);
    expect(usage("inspect", "m.onnx", "--stage", "all")).toMatch(/choices/i);
  });

  it("names dims and names that a model does not have or take", () => {
    expect(wasmith("export", "scores.graph", "-o", "dims.onnx").status).toBe(0);
    const refused = (...args: string[]) => {
      const { status, stderr } = wasmith(...args);
      expect(status, stderr).toBe(1);
      return stderr;
    };
    expect(refused("compile", "dims.onnx", "--dim", "m=4")).toMatch(/the model has no dim "m"\n {2}→ its dims are: n/);
    expect(refused("compile", "dims.onnx", "--dim", "n=0")).toMatch(/"n" is 0/);
    expect(refused("compile", "scores.graph", "--dim", "n=4")).toMatch(/--dim: .*only those of ONNX files/);
    expect(refused("run", "scores.graph", "--random", "1", "--dim", "m=4")).toMatch(
      /no dim "m"\n {2}→ its dims are: n/,
    );
    expect(refused("compile", "scores.graph", "--name", "x".repeat(4000))).toMatch(/has 4000 bytes/);
    expect(refused("compile", "scores.graph", "-o", "bad.graph/x")).toMatch(
      /can't be made: E\w+: .*\n {2}→ choose another folder/,
    );
    expect(refused("run", "dims.onnx/x.wasm")).toMatch(/can't be read/);
    writeFileSync(join(folder, "page.onnx"), "<!DOCTYPE html>");
    expect(refused("compile", "page.onnx")).toMatch(/HTML/);
    writeFileSync(join(folder, "page.wasm"), "<!DOCTYPE html>");
    expect(refused("run", "page.wasm")).toMatch(/but an HTML or XML page/);
    expect(refused("inspect", "page.wasm")).toMatch(/but an HTML or XML page/);
  });

  it("tells what a user's own code throws from bugs of its own", () => {
    const thrown = (file: string, text: string, command: string) => {
      writeFileSync(join(folder, file), text);
      const { status, stderr } = wasmith(command, file);
      expect(status, stderr).toBe(1);
      expect(stderr).not.toMatch(/bug in wasmith/);
      return stderr;
    };
    expect(thrown("throws.mjs", "throw new TypeError('mine')", "compile")).toMatch(
      /throws\.mjs: its code threw TypeError: mine\n.*throws\.mjs/,
    );
    expect(thrown("default.mjs", "export default () => { null.x }", "compile")).toMatch(
      /default\.mjs: its code threw TypeError/,
    );
    expect(thrown("syntax.mjs", "export default {", "compile")).toMatch(/syntax\.mjs: its code threw SyntaxError/);
    const step = `import { losses, nn, optim, trainStep } from ${JSON.stringify(new URL("../../dist/wasmith.js", import.meta.url).href)};
      export default trainStep(nn.Linear(3, 2), { inputs: { x: ["n", 3] }, targets: { y: ["n", 2] }, loss: losses.mse(), optimizer: optim.SGD() });`;
    expect(
      thrown("data.mjs", `${step}\nexport const dataset = () => { throw new RangeError("no data"); };`, "train"),
    ).toMatch(/data\.mjs: its code threw RangeError: no data/);
    const generator = `{ *[Symbol.iterator]() { throw new RangeError("no batch"); } }`;
    expect(thrown("batches.mjs", `${step}\nexport const dataset = ${generator};`, "train")).toMatch(
      /batches\.mjs: its code threw RangeError: no batch/,
    );
  });

  it("profiles a model and an artefact, as text, trace and page", () => {
    const profiled = wasmith("profile", "scores.graph", "--dim", "n=100", "--trace", "t.json", "--html", "p.html");
    expect(profiled.stderr).toBe("");
    expect(profiled.stdout).toMatch(/a run takes .* its \d+ steps alone/);
    expect(profiled.stdout).toMatch(/GFLOP\/s.*\n.*f32_tanh/);
    expect(profiled.stdout).toMatch(/16 threads are at most/);
    const { traceEvents } = JSON.parse(readFileSync(join(folder, "t.json"), "utf8")) as {
      traceEvents: { ph: string; ts: number; dur: number }[];
    };
    const events = traceEvents.filter((e) => e.ph === "X");
    expect(events.length).toBeGreaterThan(0);
    for (const [i, e] of events.entries()) if (i > 0) expect(e.ts).toBeCloseTo(events[i - 1]!.ts + events[i - 1]!.dur);
    const page = readFileSync(join(folder, "p.html"), "utf8");
    expect(page).toContain("<h2>Roofline</h2>");
    expect(page).toContain("<title>Profile of scores</title>");
    // Artefacts don't hold what their steps do.
    const artifact = wasmith("profile", "out/scores.wasm", "--dim", "n=100");
    expect(artifact.stdout).toContain("only the time is told");
    expect(artifact.status).toBe(0);
    expect(wasmith("profile", "scores.graph", "--entry", "nope").stderr).toContain("there are: main");
  });

  it("times a decoder that keeps its caches, whose room one run fills", () => {
    writeFileSync(join(folder, "decoder.onnx"), llama(llamaTiny, 1));
    const tokens = (name: string, value: (i: number) => number) => {
      const data = new Uint8Array(BigInt64Array.from({ length: 6 }, (_, i) => BigInt(value(i))).buffer);
      return { name, dtype: "i64", shape: [1, 6], data } as const;
    };
    const inputs = [tokens("input_ids", (i) => i), tokens("attention_mask", () => 1), tokens("position_ids", (i) => i)];
    writeFileSync(join(folder, "tokens.safetensors"), writeSafetensors(inputs));
    const variant = ["--variants", "simd128"];
    expect(wasmith("compile", "decoder.onnx", "--cache", "8", ...variant, "-o", "caching").stderr).toBe("");
    for (const [command, ...flags] of [
      ["profile", "--repeat", "3"],
      ["bench", "--runs", "3", "--profile"],
    ] as const) {
      const { status, stderr } = wasmith(command, "caching.wasm", ...flags, "--inputs", "tokens.safetensors");
      expect(stderr).toBe("");
      expect(status).toBe(0);
    }
  });

  it("train writes a report beside the checkpoint, and bench times the step", () => {
    const program = `import { losses, nn, optim, trainStep } from ${JSON.stringify(new URL("../../dist/wasmith.js", import.meta.url).href)};
      export default trainStep(nn.Linear(3, 2), { inputs: { x: ["n", 3] }, targets: { y: ["n", 2] }, loss: losses.mse(), optimizer: optim.SGD({ lr: 0.1 }) });
      export const dataset = { x: Float32Array.from({ length: 60 }, (_, i) => Math.sin(i)), y: new Float32Array(40) };`;
    writeFileSync(join(folder, "report.mjs"), program);
    const { status, stderr } = wasmith("train", "report.mjs", "--epochs", "3", "--checkpoint", "run.safetensors");
    expect(status, stderr).toBe(0);
    const page = readFileSync(join(folder, "run.html"), "utf8");
    expect(page).toContain("<title>report</title>");
    expect(page).toContain("uPlot");
    expect(wasmith("train", "report.mjs", "--checkpoint", "bare.safetensors", "--no-report").status).toBe(0);
    expect(existsSync(join(folder, "bare.html"))).toBe(false);
    const bench = wasmith("bench", "report.mjs", "--entry", "step", "--profile", "--runs", "2", "--json");
    const { profile } = JSON.parse(bench.stdout) as { profile: { name: string; ms: number }[] };
    expect(profile.map((r) => r.name)).toEqual(expect.arrayContaining(["loss", "optimizer.bias"]));
    expect(wasmith("bench", "report.mjs", "--entry", "nope").stderr).toContain("there are: step, evaluate, predict");
    const step = wasmith("profile", "report.mjs", "--entry", "step", "--dim", "n=4", "--repeat", "2", "--json");
    expect(step.stderr).toBe("");
    const { steps, bounds } = JSON.parse(step.stdout) as {
      steps: { name: string; operations: number }[];
      bounds: object[];
    };
    // y = x · w of 4 rows, 3 columns and 2 units, at least; tiles round rows and columns up.
    const product = steps.find((s) => s.operations >= 2 * 4 * 3 * 2);
    expect(product).toBeDefined();
    expect(bounds).toHaveLength(4);
    // Data sets come in their own order.
    const own = program.replace("const dataset = {", "const dataset = make({").replace(/;$/, ");");
    const data = JSON.stringify(new URL("../../dist/data.js", import.meta.url).href);
    writeFileSync(
      join(folder, "own.mjs"),
      `import { dataset as make } from ${data};\n${own.replace("new Float32Array(40)", "{ dtype: 'f32', shape: [20, 2], data: new Float32Array(40) }").replace(/x: (Float32Array.*?\)\)),/, "x: { dtype: 'f32', shape: [20, 3], data: $1 },")}`,
    );
    expect(wasmith("train", "own.mjs", "--no-report")).toMatchObject({ status: 0, stderr: "" });
    expect(wasmith("train", "own.mjs", "--no-report", "--seed", "1")).toMatchObject({
      status: 0,
      stderr: expect.stringContaining("--seed does not order this data set"),
    });
    // What is done is not done again.
    const checkpoint = readFileSync(join(folder, "run.safetensors"));
    wasmith("train", "report.mjs", "--epochs", "3", "--checkpoint", "run.safetensors", "--resume");
    expect(readFileSync(join(folder, "run.safetensors"))).toEqual(checkpoint);
  });

  it("train follows a loop of the module's own, tells its goal and writes what it shows", () => {
    const from = JSON.stringify(new URL("../../dist/wasmith.js", import.meta.url).href);
    const own = (...exports: string[]) => `import { build, nn, optim, program } from ${from};
      const w = nn.Linear(1, 1);
      export default program({ w }, {
        learn: { inputs: { x: ["n", 1] }, run: (ctx, { x }) => ({ loss: ctx.minimize(build.mean(build.square(w(ctx, x))), w, optim.SGD({ lr: 0.1 })) }) },
        size: { run: (ctx) => ({ weight: ctx.value(w.weight) }) },
      });
      ${exports.join("\n")}`;
    const loop = `export const fit = { epochs: 4 };
      export async function train(session, { epochs, seed, report }) {
        for (let i = 0; i < epochs; i++) await report({ loss: (await session.learn({ x: new Float32Array([1, 2, seed]) })).loss });
      }`;
    const rest = `export const measure = async (session) => ({ weight: Math.abs((await session.run({}, { entry: "size" })).weight.data[0]) });
      export const goal = { figure: "weight", atMost: 0.5, baseline: { name: "as it was drawn", value: 1 } };
      export const show = async (session, history) => ({ "curve.svg": await history.toSVG(), "note.txt": "a note" });`;
    writeFileSync(join(folder, "loop.mjs"), own(loop, rest));
    const run = wasmith("train", "loop.mjs", "--checkpoint", "loop.safetensors", "--show", "shown");
    expect(run.stderr).toBe("");
    expect(run.stdout.match(/^epoch \d\/4 {2}loss/gm)).toHaveLength(4);
    expect(run.stdout).toMatch(/^weight 0\.?\d*\ngoal: at most 0\.5; as it was drawn: 1\n$/m);
    expect(readdirSync(join(folder, "shown")).sort()).toEqual(["curve.svg", "note.txt"]);
    expect(existsSync(join(folder, "loop.safetensors"))).toBe(true);
    const lines = wasmith("train", "loop.mjs", "--epochs", "1", "--json").stdout.trim().split("\n");
    expect(lines.map((l) => Object.keys(JSON.parse(l) as object)[0])).toEqual(["epoch", "weight", "goal"]);
    const fails = (name: string, text: string, ...flags: string[]) => {
      writeFileSync(join(folder, name), text);
      const { status, stderr } = wasmith("train", name, ...flags);
      expect(status).not.toBe(0);
      return stderr;
    };
    expect(fails("loop.mjs", own(loop, rest), "--checkpoint", "loop.safetensors", "--resume")).toMatch(
      /loop of its own/,
    );
    expect(fails("bare.mjs", own(loop), "--show", "shown")).toMatch(/nothing to show/);
    expect(fails("none.mjs", own())).toMatch(/it exports no `dataset`[\s\S]*async function train/);
    expect(fails("word.mjs", own("export const train = 3;"))).toMatch(
      /its export train should be a function, and is 3/,
    );
    expect(fails("goal.mjs", own(loop, 'export const goal = { figure: "loss" };'))).toMatch(/its export goal is/);
  });
});
