/** Initial values: many at once are those of as many single draws, and a seed keeps its values from version to version. */

import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { mostBlocks } from "../../compiler/dsl/philox.js";
import { type Random, randomOf } from "../../compiler/dsl/random.js";
import { nn } from "../../index.js";

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
