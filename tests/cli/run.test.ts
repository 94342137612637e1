/** `wasmith run`: files of inputs and outputs, random ones only where that is said. */

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { decode, encode } from "fast-png";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeNpy, encodeNpz } from "../../compiler/cli/numpy.js";
import { type Tensor, tensor } from "../../ir/tensor.js";
import { readNpy, readNpz } from "../../runtime/data/index.js";
import { readSafetensors, writeSafetensors } from "../../runtime/safetensors.js";
import { CommandLine, isBuilt } from "./command-line.js";

const line = new CommandLine();
afterAll(() => rmSync(line.folder, { recursive: true, force: true }));

const write = (name: string, content: string | Uint8Array) => writeFileSync(line.path(name), content);
const f32 = (shape: readonly number[], ...values: number[]) => tensor("f32", shape, Float32Array.from(values));

describe("files of numpy", () => {
  const tensors: Readonly<Record<string, Tensor>> = {
    halves: tensor("f16", [2], Uint16Array.of(0x3c00, 0xc000)),
    doubles: tensor("f64", [1, 2], Float64Array.of(Math.PI, -0)),
    long: tensor("i64", [], BigInt64Array.of(-(2n ** 60n))),
    flags: tensor("bool", [3], Uint8Array.of(1, 0, 1)),
    none: tensor("f32", [0, 4], new Float32Array()),
  };

  it("are read as they were written", async () => {
    for (const [name, t] of Object.entries(tensors)) expect(await readNpy(encodeNpy(name, t))).toEqual(t);
    expect(await readNpz(encodeNpz(tensors))).toEqual(tensors);
    expect(encodeNpz(tensors)).toEqual(encodeNpz(tensors));
    const brain = tensor("bf16", [2], Uint16Array.of(0x3f80, 0xc040));
    expect(await readNpy(encodeNpy("brain", brain))).toEqual(f32([2], 1, -3));
    expect(() => encodeNpy("eighths", tensor("f8e5m2", [1], Uint8Array.of(1)))).toThrow(/numpy has no type for f8e5m2/);
  });

  it("are read by numpy", ({ skip }) => {
    if (spawnSync("python3", ["-c", "import numpy"]).status !== 0) return skip("there is no numpy for Python 3");
    write("all.npz", encodeNpz(tensors));
    const script =
      "import numpy as n; z=n.load('all.npz'); print({k: (str(v.dtype), v.shape, v.tolist()) for k, v in z.items()})";
    expect(spawnSync("python3", ["-c", script], { cwd: line.folder, encoding: "utf8" }).stdout.trim()).toBe(
      "{'halves': ('float16', (2,), [1.0, -2.0]), 'doubles': ('float64', (1, 2), [[3.141592653589793, -0.0]]), 'long': ('int64', (), -1152921504606846976), 'flags': ('bool', (3,), [True, False, True]), 'none': ('float32', (0, 4), [])}",
    );
  });
});

describe.runIf(isBuilt)("wasmith run", () => {
  beforeAll(() => {
    write(
      "two.graph",
      `dim n
graph @two(%x: f32[n,3], %k: i64[n]) -> (sum: f32[n], next: i64[n]) {
  %0: f32[n] = sum %x {axes=[1], keepDims=false}
  %1: i64[n] = add %k, %k
  return %0, %1
}
`,
    );
    write(
      "same.graph",
      "graph @same(%x: f32[1,3,2,2]) -> f32[1,3,2,2] {\n  %0: f32[1,3,2,2] = neg %x\n  %1: f32[1,3,2,2] = neg %0\n  return %1\n}\n",
    );
    mkdirSync(line.path("in"));
    write("in/x.npy", encodeNpy("x", tensor("f64", [2, 3], Float64Array.of(1, 2, 3, 4, 5, 6))));
    write("in/all.npz", encodeNpz({ x: f32([2, 3], 1, 2, 3, 4, 5, 6), k: tensor("u8", [2], Uint8Array.of(7, 8)) }));
    write(
      "in/all.json",
      JSON.stringify({
        x: [
          [1, 2, 3],
          [4, 5, 6],
        ],
        k: { dtype: "i64", shape: [2], data: ["7", "8"] },
      }),
    );
    const bytes = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
    write("in/x.safetensors", writeSafetensors([{ name: "other", dtype: "f32", shape: [2, 3], data: bytes }]));
    expect(line.run("compile", "two.graph", "-o", "two").status).toBe(0);
  });

  const wanted = {
    sum: { dtype: "f32", shape: [2], data: [6, 15] },
    next: { dtype: "i64", shape: [2], data: ["14", "16"] },
  };

  it.each([
    ["--input", "x=in/x.npy", "--input", "k=[7, 8]"],
    ["-i", "x=in/x.safetensors", "-i", "k=in/all.npz"],
    ["-i", "x=[1,2,3,4,5,6]", "-i", 'k={"dtype": "u8", "data": [7, 8]}'],
    ["--inputs", "in/all.npz"],
    ["--inputs", "in/all.json"],
    ["--inputs", "in/all.npz", "-i", "x=in/all.json"],
  ])("reads %s %s %s %s", (...flags) => {
    const { stdout, stderr } = line.run("run", "two.wasm", ...flags, "--json");
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual(wanted);
  });

  it("writes what it is asked for, and tells the rest in words", async () => {
    const inputs = ["--inputs", "in/all.npz"];
    const run = line.run(
      "run",
      "two.wasm",
      ...inputs,
      "-o",
      "out.npz",
      "--output",
      "sum=sum.npy",
      "--output",
      "next=next.json",
    );
    expect(run.stderr).toBe("");
    expect(run.stdout).toMatch(/^sum: f32\[2\] +6 15\nnext: i64\[2\] +14 16\nout\.npz\nsum\.npy\nnext\.json\n$/);
    expect(Object.keys(await readNpz(readFileSync(line.path("out.npz"))))).toEqual(["sum", "next"]);
    expect(await readNpy(readFileSync(line.path("sum.npy")))).toEqual(f32([2], 6, 15));
    expect(JSON.parse(readFileSync(line.path("next.json"), "utf8"))).toEqual({ next: wanted.next });
    expect(line.run("run", "two.wasm", ...inputs, "-o", "out.safetensors").status).toBe(0);
    expect([...readSafetensors(readFileSync(line.path("out.safetensors"))).tensors.keys()].sort()).toEqual([
      "next",
      "sum",
    ]);
  });

  it("takes pictures and writes them", () => {
    const data = Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 51, 102, 153);
    write("in.png", encode({ width: 2, height: 2, data, channels: 3, depth: 8 }));
    const run = line.run("run", "same.graph", "-i", "in.png", "--range", "-1,1", "-o", "out.png");
    expect(run.stderr).toBe("");
    const { width, height, channels, data: out } = decode(readFileSync(line.path("out.png")));
    expect([width, height, channels]).toEqual([2, 2, 3]);
    expect(Array.from(out)).toEqual(Array.from(data));
    const plain = line.run("run", "same.graph", "-i", "in.png", "--mean", "1", "--std", "-1", "--json");
    const values = (Object.values(JSON.parse(plain.stdout) as object) as { data: number[] }[])[0]!.data;
    expect(values.slice(0, 4).map((v) => Math.round(v * 10) / 10)).toEqual([0, 1, 1, 0.8]);
  });

  it("draws inputs at random only where that is said", () => {
    const refused = (...flags: string[]) => {
      const { status, stdout, stderr } = line.run("run", "two.wasm", ...flags);
      expect(stdout).toBe("");
      expect(status, stderr).toBe(1);
      return stderr;
    };
    expect(refused()).toBe(
      "error: two.wasm: no input is given; it takes x: f32[n, 3], k: i64[n]\n" +
        "  → --input NAME=FILE gives one, --inputs FILE all of them, --random random ones\n",
    );
    expect(refused("-i", "k=[7,8]")).toMatch(/input "x": missing/);
    expect(refused("-i", "[7,8]")).toMatch(/which input "\[7,8\]" is\n {2}→ write NAME=…; the inputs are: x, k/);
    expect(refused("-i", "z=[7]")).toMatch(/no input "z"/);
    expect(refused("-i", "k=[7.5,8]", "-i", "x=in/x.npy")).toMatch(/input "k": 7\.5 \(element 0\) is no i64/);
    expect(refused("-i", "k=[[7],[8,9]]")).toMatch(/uneven lengths/);
    expect(refused("-i", "k=in/absent.npy")).toMatch(/absent\.npy/);
    expect(refused("-i", "k=two.graph")).toMatch(/two\.graph: expected a file of type \.npy/);
    expect(refused("--inputs", "in/all.npz", "-o", "one.npy")).toMatch(/one tensor fits in it, and there are 2/);
    expect(refused("--inputs", "in/all.npz", "-o", "one.bin")).toMatch(/does not say what to write/);
    // The rest of what is given, of the same sizes.
    const rest = line.run("run", "two.wasm", "--random", "-i", "x=in/x.npy", "--json");
    const { sum, next } = JSON.parse(rest.stdout) as typeof wanted;
    expect([sum.data, next.shape]).toEqual([[6, 15], [2]]);
  });
});
