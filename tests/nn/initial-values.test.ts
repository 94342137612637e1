/** Initial values: many at once are those of as many single draws, and a seed keeps its values from version to version. */

import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { log, type Random, randomOf } from "../../compiler/dsl/random.js";
import { fillBlocks, mostBlocks } from "../../compiler/dsl/random-blocks.js";
import { logLanes } from "../../compiler/kernels/box-muller.js";
import { emitModule } from "../../compiler/wasm/emit.js";
import { nn } from "../../index.js";
import { buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { philoxInto } from "../../ir/ops/random.js";

/** One number at a time, as initialisers of users draw. */
const one = {
  uniform: (r: Random) => -0.3 + (0.7 - -0.3) * r.uniform(),
  normal: (r: Random) => 0.1 + 0.02 * r.normal(),
};
const many = {
  uniform: (r: Random, values: Float64Array | Float32Array) => r.fillUniform(values, -0.3, 0.7),
  normal: (r: Random, values: Float64Array | Float32Array) => r.fillNormal(values, 0.1, 0.02),
};
const kinds = ["uniform", "normal"] as const;

describe.each(kinds)("many %s numbers", (kind) => {
  // Within a block, a few blocks, the least that compiled code makes, more than it makes at once.
  it.each([0, 1, 2, 3, 5, 64, 253, 256, 257, 4 * mostBlocks + 3])("%i of them", (count) => {
    for (const array of [Float32Array, Float64Array]) {
      const [a, b] = [randomOf(7, "layer.weight"), randomOf(7, "layer.weight")];
      const values = new array(count);
      many[kind](a, values);
      expect(values).toEqual(new array(count).map(() => one[kind](b)));
      // What is drawn next does not depend on it.
      expect([a.normal(), a.uniform()]).toEqual([b.normal(), b.uniform()]);
    }
  });
});

it("a stream goes on where it is, whatever is drawn in which way", () => {
  const [a, b] = [randomOf(1, "w"), randomOf(1, "w")];
  for (const [i, count] of [1, 3, 300, 1, 2, 1000, 0, 5, 700].entries()) {
    const [first, second] = [kinds[i % 2]!, kinds[(i + 1) % 2]!];
    const values = new Float64Array(count);
    many[first](a, values);
    expect(values).toEqual(Float64Array.from({ length: count }, () => one[first](b)));
    expect(one[second](a)).toBe(one[second](b));
  }
});

it("blocks go on behind the first 2^32", () => {
  const first = 2 ** 32 - 6;
  const values = new Float64Array(24);
  fillBlocks(values, "uniform", { key: [3, 4], first, shift: 0, scale: 1 });
  const expected = Array.from({ length: 12 }, (_, i) => {
    const [block, w] = [first + i, new Uint32Array(4)];
    philoxInto(w, [block >>> 0, Math.floor(block / 2 ** 32), 0, 0], [3, 4]);
    const unit = (high: number, low: number) => ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
    return [unit(w[0]!, w[1]!), unit(w[2]!, w[3]!)];
  });
  expect([...values]).toEqual(expected.flat());
});

it("the logarithm of lanes is the scalar one to the last bit, which is right", () => {
  // Between them lie all numbers that uniform ones leave of 1: the least, 1, and where terms are summed in another order.
  const turns = [2 ** -53, Math.SQRT1_2, 0x6147a, 0x6b851, 0xffffe, 1].flatMap((at) =>
    at > 1 ? [(1 + at / 2 ** 20) / 2, (1 + at / 2 ** 20) / 8] : [at],
  );
  const near = turns.flatMap((x) => [-3, -2, -1, 0, 1, 2, 3].map((n) => x * (1 + n * 2 ** -52)));
  const random = randomOf(1, "numbers");
  const close = Array.from({ length: 1000 }, (_, i) => 1 - (random.uniform() * 2 ** -(i % 53)) / 2);
  const given = [...near, ...close, ...Array.from({ length: 10_000 }, () => 1 - random.uniform())];
  const x = Float64Array.from(given.filter((v) => v > 0 && v <= 1));
  const padded = new Float64Array(x.length + (x.length % 2)).fill(1);
  padded.set(x);

  const params = [{ name: "count", type: "i32" }, B.pointer("x", "f64")] as const;
  const loop = buildFunction("logs", params, undefined, (b, [count, at]) => {
    b.for("i", 0, count, 2, (i) => b.store("f64", at, i, logLanes(b, b.let("v", B.load("f64x2", "f64", at, i)))));
  });
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 2 });
  const { bytes } = emitModule({
    functions: [loop],
    exports: ["logs"],
    memory: { shared: false, initialPages: 2, maximumPages: 2 },
    variant: { simd: "simd128", threads: false },
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory } });
  const lanes = new Float64Array(memory.buffer, 0, padded.length);
  lanes.set(padded);
  (exports.logs as (count: number, x: number) => void)(padded.length, 0);
  expect(lanes.subarray(0, x.length)).toEqual(x.map(log));
  for (const v of x) expect(Math.abs(log(v) - Math.log(v))).toBeLessThanOrEqual(2 ** -52 * Math.abs(Math.log(v)));
});

it("truncated normals are the normals that lie within", () => {
  const r = randomOf(3, "w");
  const all = Array.from({ length: 30_000 }, () => r.normal()).filter((v) => v >= -1 && v <= 0.5);
  const values = nn.init.truncatedNormal(0, 1, -1, 0.5)([10_000], randomOf(3, "w"));
  expect(Array.from(values)).toEqual(all.slice(0, 10_000));
});

it("are taken without a copy in f32, and keep their digits in f64", () => {
  const made: unknown[] = [];
  const init: nn.init.Initializer = (shape, random) => {
    const values = nn.init.normal()(shape, random);
    made.push(values);
    return values;
  };
  class Net extends nn.Module {
    readonly single = nn.parameter([5], init);
    readonly double = nn.parameter([5], init, "f64");
    forward(): never {
      throw new Error("not called");
    }
  }
  const state = new Net().initialize(1).state();
  expect(state.get("single")!.data).toBe(made[0]);
  expect(state.get("double")!.data).toEqual(made[1]);
  expect(made[1]).toBeInstanceOf(Float64Array);
});

it("a seed gives the values that it always gave", () => {
  const net = nn.sequential({
    conv: nn.Conv2d(3, 40, 5),
    normal: nn.Linear(300, 301, { weightInit: nn.init.xavierNormal() }),
    cut: nn.Linear(60, 70, { weightInit: nn.init.truncatedNormal(0, 0.1) }),
    table: nn.Embedding(500, 30),
    recurrent: nn.Linear(20, 20, { weightInit: nn.init.orthogonal(), biasInit: nn.init.constant(0.1) }),
  });
  const hash = createHash("sha256");
  for (const [name, { data }] of net.initialize(12345).state()) {
    hash.update(name);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  expect(hash.digest("hex")).toBe("d4305a75a7f24d56e38d8edaeee9be03f991eac2ac493eebe18af59cee090d7a");
});
