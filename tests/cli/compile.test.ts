/** `wasmith compile`: what it tells, what it is told of ONNX files, weights of a trained session. */

import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import type { GraphProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { node, model as onnxModel, tensorInfo } from "../onnx/build.js";
import { CommandLine, isBuilt, packageUrl } from "./command-line.js";

const line = new CommandLine();
afterAll(() => rmSync(line.folder, { recursive: true, force: true }));

describe.runIf(isBuilt)("wasmith compile", () => {
  it("takes what an ONNX file leaves open, and so do dump, inspect and export", () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", undefined), tensorInfo("axes", [1], 7)],
      output: [tensorInfo("y", undefined)],
      node: [node("ReduceSum", ["x", "axes"], ["y"], { keepdims: 0 })],
    };
    writeFileSync(line.path("open.onnx"), encodeModel(onnxModel(graph)));
    const told = ["--shape", "x=n,3,?", "--value", "axes=[1]", "--dim", "n=1..8", "--variants", "simd128"];
    const { stdout, stderr } = line.run("compile", "open.onnx", ...told, "-o", "open", "--json");
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toMatchObject({
      name: "open",
      paths: expect.arrayContaining(["open.wasm"]),
      entries: [{ entry: "main", ops: expect.any(Number), steps: 1, maxBytes: null }],
      kernels: 1,
      variants: [{ id: "simd128", bytes: expect.any(Number), gzip: expect.any(Number) }],
      weights: expect.any(Number),
      state: 0,
      warnings: [],
      stages: { passes: expect.any(Number), lower: expect.any(Number), emit: expect.any(Number) },
    });
    expect(line.run("inspect", "open.onnx", ...told).stdout).toMatch(/in {2}x: f32\[n,3,x_2\]/);
    expect(line.run("dump", "open.onnx", ...told, "--after", "simplify").stdout).toContain("%x: f32[n,3,x_2]");
    const wrong = (...flags: string[]) => {
      const answer = line.run("compile", "open.onnx", ...flags);
      return `${answer.status} ${answer.stderr}`;
    };
    expect(wrong()).toMatch(/^1 .*axes/s);
    expect(wrong("--value", "axis=[1]")).toMatch(/^1 error: --value: the model has no input "axis"/);
    expect(wrong("--shape", "x=3,,2")).toMatch(/^2 .*write sizes with commas/);
    expect(wrong("--structure", "x=many")).toMatch(/^2 .*how many tensors a sequence has/);
    expect(line.run("compile", "m.graph", "--value", "x=3").stderr).toMatch(/--value: .*only those of ONNX files/);
  });

  it("compiles what was trained", () => {
    writeFileSync(
      line.path("line.mjs"),
      `import { losses, nn, optim, trainStep } from ${JSON.stringify(packageUrl)};
      export default trainStep(nn.Linear(1, 1), { inputs: { x: ["n", 1] }, targets: { y: ["n", 1] }, outputs: ["y"], loss: losses.mse(), optimizer: optim.SGD({ lr: 0.2 }) });
      export const dataset = { x: Float32Array.of(-1, 0, 1, 2), y: Float32Array.of(-1, 1, 3, 5) };`,
    );
    expect(
      line.run("train", "line.mjs", "--epochs", "200", "--checkpoint", "line.safetensors", "--no-report").status,
    ).toBe(0);
    const flags = ["--weights", "line.safetensors", "--entry", "predict", "-o", "line", "--variants", "simd128"];
    const { stdout, stderr } = line.run("compile", "line.mjs", ...flags);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^graph +\d+ ops? in \d+ steps? +memory grows with its sizes$/m);
    expect(stdout).toMatch(/^simd128 +[\d.]+ KB +[\d.]+ KB gzipped$/m);
    expect(line.run("run", "line.wasm", "-i", "[10]").stdout).toMatch(/^y: f32\[1, 1\] +(21|20\.99\d+|21\.00\d*)$/m);
    expect(existsSync(line.path("line.safetensors"))).toBe(true);
    expect(readFileSync(line.path("line.js"), "utf8")).not.toContain("step");
    writeFileSync(line.path("broken.safetensors"), "none");
    expect(line.run("compile", "line.mjs", "--weights", "broken.safetensors").stderr).toMatch(
      /^error: broken\.safetensors: /,
    );
    expect(line.run("compile", "line.mjs", "--entry", "step").stderr).toMatch(/it changes state/);
    expect(line.run("compile", "line.mjs", "--quantize", "int8").stderr).toMatch(/name the entry: --entry predict/);
    expect(line.run("compile", "line.mjs", "--quantize", "int8", "--entry", "predict").stderr).toMatch(
      /no product or embedding reads a constant matrix/,
    );
  });
});
