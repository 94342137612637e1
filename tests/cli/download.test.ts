/** Models and inputs at web addresses. */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeNpy } from "../../compiler/cli/numpy.js";
import type { GraphProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { tensor } from "../../ir/tensor.js";
import { node, model as onnxModel, tensorInfo } from "../onnx/build.js";
import { type Answer, CommandLine, cli, isBuilt } from "./command-line.js";

const line = new CommandLine();
const weights = Float32Array.of(10, 20, 30);
const graph: GraphProto = {
  input: [tensorInfo("x", [3])],
  output: [tensorInfo("y", [3])],
  node: [node("Add", ["x", "w"], ["y"])],
  initializer: [
    {
      name: "w",
      dims: [3],
      dataType: 1,
      dataLocation: 1,
      externalData: [
        { key: "location", value: "data/my weights.bin" },
        { key: "length", value: "12" },
      ],
    },
  ] as never,
};
const model = encodeModel(onnxModel(graph));
const x = encodeNpy("x", tensor("f32", [3], Float32Array.of(1, 2, 3)));
const scores = "graph @s(%x: f32[3]) -> f32[3] {\n  %0: f32[3] = neg %x\n  return %0\n}\n";
const files: Readonly<
  Record<string, { readonly body: Uint8Array | string; readonly type?: string; readonly length?: number }>
> = {
  "/models/add.onnx": { body: model },
  "/models/data/my%20weights.bin": { body: new Uint8Array(weights.buffer) },
  "/x.npy": { body: x },
  "/s.graph": { body: scores, type: "text/plain" },
  "/page.onnx": { body: "<!doctype html>", type: "text/html; charset=utf-8" },
  "/short.onnx": { body: model, length: model.length + 9 },
};

let server: Server;
let base: string;
beforeAll(async () => {
  server = createServer(({ url }, response) => {
    const file = files[url!.split("?")[0]!];
    if (!file) return response.writeHead(404, "Not Found").end();
    const { body, type = "application/octet-stream", length = body.length } = file;
    response.writeHead(200, { "content-type": type, "content-length": length });
    response.write(body);
    return length > body.length ? response.destroy() : response.end();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
  rmSync(line.folder, { recursive: true, force: true });
});

/** The server is in this process, so that the command can't be waited for. */
const run = (...args: string[]): Promise<Answer> =>
  new Promise((done) => {
    const child = spawn(process.execPath, [cli, ...args], { cwd: line.folder });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (data) => {
      stdout += data;
    });
    child.stderr.on("data", (data) => {
      stderr += data;
    });
    child.once("close", (status) => done({ status, stdout, stderr }));
  });

describe.runIf(isBuilt)("addresses", () => {
  it("stand for models with their weights, and for inputs", { timeout: 60_000 }, async () => {
    const before = readdirSync(tmpdir());
    const ran = await run("run", `${base}/models/add.onnx?download=true`, "-i", `x=${base}/x.npy`);
    expect(ran.stderr).toBe("");
    expect(ran.stdout).toBe("y: f32[3]    11 22 33\n");
    const hash = createHash("sha256").update(model).digest("hex");
    const compiled = await run(
      "compile",
      `${base}/models/add.onnx#sha256=${hash}`,
      "-o",
      "out/",
      "--preset",
      "edge",
      "--json",
    );
    expect(JSON.parse(compiled.stdout)).toMatchObject({ name: "add", weights: expect.any(Number) });
    expect((await run("run", `${base}/s.graph`, "-i", "[1, 2, 3]")).stdout).toMatch(/-1 -2 -3/);
    // Other processes make folders of the kind, and remove them.
    const left = readdirSync(tmpdir()).filter((f) => /^wasmith-\w{6}$/.test(f) && !before.includes(f));
    expect(left.length).toBeLessThan(3);
  });

  it.each([
    ["/absent.onnx", /absent\.onnx: the server answered 404 Not Found/],
    ["/page.onnx", /page\.onnx: it is a web page, no model\n {2}→ give the address of the file itself/],
    ["/short.onnx", /short\.onnx: (it can't be downloaded|\d+ bytes came instead of \d+)/],
    [`/models/add.onnx#sha256=${"0".repeat(64)}`, /its SHA-256 is [0-9a-f]{64}/],
    ["/train.mjs", /code is not run from an address/],
  ])("of %s are refused", async (path, message) => {
    const { status, stderr } = await run("compile", `${base}${path}`);
    expect(stderr).toMatch(message);
    expect(status).toBe(1);
  });
});
