/** Commands of WASI give what sessions give, bit for bit, and say what is wrong; in Node, and in wasmtime where there is Python. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { dimAdd, dimSymbol } from "../../ir/dim.js";
import { type Graph, graph, param } from "../../ir/graph.js";
import { scalarConstant } from "../../ir/ops/constant.js";
import { range, unknownSize } from "../../ir/ops/dynamic.js";
import { add } from "../../ir/ops/elementwise.js";
import { slice } from "../../ir/ops/movement.js";
import { load, type Session, type Tensor } from "../../runtime/index.js";
import { readSafetensors, writeSafetensors } from "../../runtime/safetensors.js";
import { bytesOf } from "../../runtime/tensor.js";
import { f32, mixed, mixedFeeds, training } from "./models.js";
import { pythonEnv, pythonObstacle } from "./python.js";

const child = fileURLToPath(new URL("command-child.mjs", import.meta.url));
const wasmtime = `
import sys, wasmtime
engine = wasmtime.Engine()
linker = wasmtime.Linker(engine)
linker.define_wasi()
store = wasmtime.Store(engine)
config = wasmtime.WasiConfig()
config.inherit_stdin(), config.inherit_stdout(), config.inherit_stderr()
store.set_wasi(config)
instance = linker.instantiate(store, wasmtime.Module.from_file(engine, sys.argv[1]))
try:
    instance.exports(store)["_start"](store)
except wasmtime.ExitTrap as ended:
    sys.exit(ended.code)
`;

interface Ended {
  readonly code: number | null;
  readonly out: Buffer;
  readonly error: string;
}

/** Programs that run commands, and their arguments before the command's path. */
const hosts: Readonly<Record<string, readonly [program: string, args: readonly string[]] | null>> = {
  Node: [process.execPath, ["--no-warnings", child]],
  wasmtime: pythonObstacle ? null : ["python3", ["-c", wasmtime]],
};
if (pythonObstacle) console.warn(`commands are not tested in wasmtime: ${pythonObstacle}`);

function runCommand(host: string, command: string, input: Uint8Array, chunk = input.length): Promise<Ended> {
  const [program, args] = hosts[host]!;
  const started = spawn(program, [...args, command], { env: pythonEnv });
  const [out, error]: [Buffer[], Buffer[]] = [[], []];
  started.stdout.on("data", (data: Buffer) => out.push(data));
  started.stderr.on("data", (data: Buffer) => error.push(data));
  // A command that has seen enough does not read on.
  started.stdin.on("error", () => {});
  for (let at = 0; at < input.length; at += chunk) started.stdin.write(input.subarray(at, at + chunk));
  started.stdin.end();
  return new Promise((resolve) => {
    started.on("close", (code) => resolve({ code, out: Buffer.concat(out), error: Buffer.concat(error).toString() }));
  });
}

type Tensors = Readonly<Record<string, Tensor>>;
const listed = (tensors: Tensors) =>
  Object.entries(tensors).map(([name, t]) => ({ ...t, name, data: bytesOf(t.data) }));
const fileOf = (feeds: Tensors, options = {}): Uint8Array => writeSafetensors(listed(feeds), options);
const width = (t: Tensor): number => t.data.BYTES_PER_ELEMENT;
/** What a command writes: the widest elements first. */
const answerOf = (results: Tensors): string =>
  Buffer.from(
    writeSafetensors(listed(results).sort((a, b) => width(results[b.name]!) - width(results[a.name]!))),
  ).toString("hex");

/** A file with another header, over the same data. */
function withHeader(file: Uint8Array, header: string): Uint8Array {
  const { data } = readSafetensors(file);
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

const available = Object.keys(hosts).filter((host) => hosts[host]);

describe("a command", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "wasmith-wasi-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const made = async (
    model: Graph | ReturnType<typeof training>,
    name: string,
  ): Promise<{ path: string; session: Session }> => {
    const artifact = await compile(model as Graph, { variants: ["simd128"], name });
    const path = join(folder, `${name}.wasm`);
    if (!existsSync(path)) writeFileSync(path, await artifact.toCommand());
    return { path, session: await load(artifact) };
  };

  it.each(available)("gives what a session gives, in %s", async (host) => {
    const { path, session } = await made(mixed(), "mixed");
    for (const n of [0, 1, 2000]) {
      const { code, out, error } = await runCommand(host, path, fileOf(mixedFeeds(n)));
      expect([code, error]).toEqual([0, ""]);
      expect(out.toString("hex")).toBe(answerOf(await session.run(mixedFeeds(n))));
    }
    session.dispose();
  });

  it.each(available)("has trained weights, and memory for more than it began with, in %s", async (host) => {
    const { path, session } = await made(training(), "training");
    const x = f32([300_000, 4]);
    const { code, out } = await runCommand(host, path, fileOf({ x }));
    expect(code).toBe(0);
    expect(out.equals(Buffer.from(answerOf(await session.run({ x })), "hex"))).toBe(true);
    session.dispose();
  });

  it("reads headers as others write them: in any order, with spaces, metadata and padding, in pieces", async () => {
    const { path, session } = await made(mixed(), "mixed");
    const feeds = mixedFeeds(4);
    const want = answerOf(await session.run(feeds));
    session.dispose();
    const backwards = Object.fromEntries(Object.entries(feeds).reverse());
    const padded = fileOf(backwards, { metadata: { format: 'p"t', "b{": "]}" }, align: 64 });
    const { tensors } = readSafetensors(padded);
    const spaced = JSON.stringify(
      {
        __metadata__: { a: '\\"}', b: "[" },
        ...Object.fromEntries(
          [...tensors].reverse().map(([name, t]) => {
            const begin = t.data.byteOffset - readSafetensors(padded).data.byteOffset;
            return [
              name,
              {
                data_offsets: [begin, begin + t.data.length],
                more: [{ a: [1, "]"] }, null],
                shape: t.shape,
                dtype: t.dtype.toUpperCase(),
              },
            ];
          }),
        ),
      },
      null,
      "\t",
    );
    for (const file of [padded, withHeader(padded, ` \n${spaced}  `)]) {
      const { code, out, error } = await runCommand("Node", path, file, 37);
      expect([code, error]).toEqual([0, ""]);
      expect(out.toString("hex")).toBe(want);
    }
  });

  it("says what is wrong, and ends with 1", async () => {
    const { path, session } = await made(mixed(), "mixed");
    const feeds = mixedFeeds(2);
    const { x: _, ...without } = feeds;
    const good = fileOf(feeds);
    const header = Buffer.from(
      good.subarray(8, 8 + Number(new DataView(good.buffer).getBigUint64(0, true))),
    ).toString();
    const changed = (from: string, to: string) => withHeader(good, header.replace(from, to));
    const damaged = "standard input: not a safetensors file, or incomplete";
    const cases: readonly (readonly [input: Uint8Array, message: string])[] = [
      [new Uint8Array(), damaged],
      [new TextEncoder().encode("a text that is no safetensors file"), damaged],
      [good.subarray(0, 20), damaged],
      [good.subarray(0, good.length - 1), damaged],
      [changed("{", "["), damaged],
      [changed(":[0,", ":[0.5,"), damaged],
      [changed(":[0,", ":[4294967296,"), damaged],
      [changed(":[0,", ":[4,"), damaged],
      [changed('"dtype"', '"dtypes"'), damaged],
      [changed('"x":', '"x":"'), damaged],
      [changed('"h":', '"x":'), damaged],
      [
        fileOf({ ...feeds, [`X${"y".repeat(300)}`]: f32([2]) }),
        `input "X${"y".repeat(199)}": the model has no such input\n  → its inputs are: x, h, b, i, mask, scale, bytes`,
      ],
      [fileOf(without), 'input "x": missing; expected f32[n, 3]'],
      [fileOf({ ...feeds, x: f32([2, 4]) }), 'input "x": expected f32[n, 3], got f32[2, 4]'],
      [fileOf({ ...feeds, x: f32([6]) }), 'input "x": expected f32[n, 3], got f32[6]'],
      [fileOf({ ...feeds, mask: f32([5]) }), 'input "mask": expected bool[m], got F32'],
      [fileOf({ ...feeds, x: f32([3, 3]) }), 'input "h": dim "n" is 2 here, but 3 in another input'],
      [
        fileOf({ ...feeds, mask: { dtype: "bool", shape: [5], data: Uint8Array.of(0, 1, 0, 7, 0) } }),
        'input "mask": expected bool[m], got the value 7 at index 3',
      ],
      [
        fileOf({
          ...feeds,
          i: { dtype: "i64", shape: [9], data: new BigInt64Array(9) },
          mask: { dtype: "bool", shape: [9], data: new Uint8Array(9) },
        }),
        'dim "m" is 9, outside its range [1, 8]',
      ],
    ];
    session.dispose();
    for (const [input, message] of cases) {
      const { code, out, error } = await runCommand("Node", path, input);
      expect([code, out.length, error.slice(0, message.length)]).toEqual([1, 0, message]);
    }
  });

  it("finds sizes while it runs, and says what a run breaks", async () => {
    const k = param("k", { dtype: "i64", shape: [] });
    const [zero, one] = [scalarConstant("i64", 0), scalarConstant("i64", 1)];
    const { path, session } = await made(
      graph("counted", [k], [range([zero, k, one], { defines: unknownSize("size", 2 ** 20) })], ["y"]),
      "counted",
    );
    const feed = (value: number) =>
      ({ k: { dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(value)) } }) as const;
    for (const value of [0, 5, 2 ** 20]) {
      const { code, out } = await runCommand("Node", path, fileOf(feed(value)));
      expect([code, out.toString("hex")]).toEqual([0, answerOf(await session.run(feed(value)))]);
    }
    const why = await session.run(feed(2 ** 20 + 1)).catch((error) => error.message);
    const { code, error } = await runCommand("Node", path, fileOf(feed(2 ** 20 + 1)));
    expect([code, error.trim()]).toEqual([1, why]);
    session.dispose();
  });

  it("compares derived sizes, and knows names in any spelling", async () => {
    const n = dimSymbol("n");
    const x = param('é "x"', { dtype: "f32", shape: [n] });
    const z = param("z", { dtype: "f32", shape: [dimAdd(n, 1)] });
    const y = add([x, slice([z], { starts: [0], sizes: [n], steps: [1] })]);
    const { path, session } = await made(graph("derived", [x, z], [y], ['ÿ\\"']), "derived");
    const feeds = { 'é "x"': f32([2]), z: f32([3]) };
    const want = answerOf(await session.run(feeds));
    session.dispose();
    const file = fileOf(feeds);
    const length = Number(new DataView(file.buffer).getBigUint64(0, true));
    const ascii = Buffer.from(file.subarray(8, 8 + length))
      .toString()
      .replace("é", "\\u00e9");
    for (const spelling of [file, withHeader(file, ascii)])
      expect((await runCommand("Node", path, spelling)).out.toString("hex")).toBe(want);
    const { code, error } = await runCommand("Node", path, fileOf({ ...feeds, z: f32([2]) }));
    expect([code, error]).toEqual([1, 'input "z": expected f32[n + 1], here n + 1 is 3, got 2\n']);
  });

  it("is refused where a size can't be told", async () => {
    const n = dimSymbol("n");
    const x = param("x", { dtype: "f32", shape: [dimAdd(n, 1)] });
    const artifact = await compile(graph("hidden", [x], [add([x, x])], ["y"]), { variants: ["simd128"] });
    await expect(artifact.toCommand()).rejects.toThrow('entry "main": no input shows the size "n"');
  });
});
