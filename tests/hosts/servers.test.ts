/** Servers of docs/HOSTS.md, as they stand there. */
import { execFile } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { printGraph } from "../../ir/graph-print.js";
import { readSafetensors, type StoredTensor, writeSafetensors } from "../../runtime/safetensors.js";
import { bytesOf } from "../../runtime/tensor.js";
import { affineGraph, bundle, freePort, inHosts, isBuilt, project, root, Server } from "./recipes.js";

const denoFlags = ["--allow-net", "--allow-env", "--allow-read"];
const hosts = [
  { name: "Node", program: process.execPath, args: ["node.mjs"] },
  { name: "Bun", program: inHosts("@oven/bun-linux-x64/bin/bun"), args: ["bun.mjs"] },
  { name: "Deno", program: inHosts("@deno/linux-x64-glibc/deno"), args: ["run", ...denoFlags, "deno.mjs"] },
];
const workerd = inHosts("@cloudflare/workerd-linux-64/bin/workerd");
for (const { name, program } of [...hosts, { name: "workerd", program: workerd }])
  if (!program)
    console.warn(
      `the recipe for ${name} is not tested: it is not installed (npm ci --prefix tests/hosts --ignore-scripts)`,
    );

describe.skipIf(!isBuilt)("the recipe for", () => {
  let folder: string;
  let server: Server | undefined;
  beforeAll(async () => {
    folder = await project();
  });
  afterAll(async () => {
    await server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const { name, program, args } of hosts) {
    it.skipIf(!program)(`${name} answers, and refuses what does not fit`, async () => {
      server = new Server(program!, args, folder, await freePort());
      const answers = await Promise.all([server.post("[1,2,3]"), server.post("[4,5,6,7,8,9]")]);
      expect(await Promise.all(answers.map((a) => a.json()))).toEqual([
        [3, 5, 7],
        [9, 11, 13, 15, 17, 19],
      ]);
      const refusal = await server.post("[1,2]");
      expect(refusal.status).toBe(400);
      expect(await refusal.text()).toContain('input "x": expected f32[n, 3], that is a multiple of 3 elements, got 2');
      await server.close();
    });
  }

  it("WASI makes a command that Node runs", async () => {
    const input: StoredTensor = { name: "x", dtype: "f32", shape: [1, 3], data: bytesOf(Float32Array.of(1, 2, 3)) };
    writeFileSync(join(folder, "inputs.safetensors"), writeSafetensors([input]));
    writeFileSync(join(folder, "affine.graph"), printGraph(affineGraph("affine")));
    const page = readFileSync(join(root, "docs/HOSTS.md"), "utf8");
    const [, ...args] = /^wasmith (compile .*--wasi.*)$/m.exec(page)![0].split(" ");
    const run = promisify(execFile);
    await run(process.execPath, [join(root, "dist/cli.js"), ...args], { cwd: folder });
    await run(process.execPath, ["command.mjs"], { cwd: folder });
    const y = readSafetensors(readFileSync(join(folder, "outputs.safetensors"))).tensors.get("y")!;
    expect([y.shape, [...new Float32Array(Uint8Array.from(y.data).buffer)]]).toEqual([
      [1, 3],
      [3, 5, 7],
    ]);
    await expect(
      run(process.execPath, [join(root, "dist/cli.js"), ...args, "--encrypt"], { cwd: folder }),
    ).rejects.toThrow("--wasi: it makes a command, for which there is no --encrypt");
  });

  it.skipIf(!workerd)("workerd answers", async () => {
    await bundle(folder, "worker.mjs", "worker.js", { format: "esm", external: ["*.wasm"] });
    const port = await freePort();
    const config = join(folder, "config.capnp");
    writeFileSync(config, readFileSync(config, "utf8").replace("8080", String(port)));
    server = new Server(workerd!, ["serve", "config.capnp"], folder, port);
    expect(await (await server.post("[1,2,3]")).json()).toEqual([3, 5, 7]);
    expect(await (await server.post("[0,0,1]")).json()).toEqual([1, 1, 3]);
    await server.close();
  });
});
