import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import onnxProto from "onnx-proto";
import { describe, expect, it } from "vitest";
import { codeOfDType, dtypeOfCode } from "../../compiler/onnx/dtype.js";
import { readModel } from "../../compiler/onnx/model.js";
import type { ModelProto } from "../../compiler/onnx/proto-types.js";
import { decodeMessage, decodeModel, encodeMessage, encodeModel } from "../../compiler/onnx/protobuf.js";
import { decodeTensor, encodeTensor } from "../../compiler/onnx/tensor.js";
import { ModelError } from "../../ir/errors.js";
import {
  conformanceTests,
  decodeValue,
  hasConformance,
  hasExports,
  hasModels,
  pytorchExports,
  trainedModels,
} from "./data.js";

/** Decoding and encoding once more gives the same message, and no field was of unknown kind. */
function roundTrips(bytes: Uint8Array): boolean {
  const model = decodeModel(bytes);
  const again = encodeModel(model);
  return isDeepStrictEqual(model, decodeModel(again)) && !JSON.stringify(Object.keys(model)).includes("unknownFields");
}

describe("a file that uses every message", () => {
  const everything: ModelProto = {
    irVersion: 14,
    modelVersion: 2n ** 62n + 1n,
    opsetImport: [{ domain: "", version: 28 }],
    metadataProps: [{ key: "k", value: "v" }],
    configuration: [{ name: "c", numDevices: 2, device: ["a", "b"] }],
    trainingInfo: [{ initializationBinding: [{ key: "a", value: "b" }], algorithm: { name: "step" } }],
    functions: [
      {
        name: "f",
        domain: "d",
        overload: "o",
        input: ["x"],
        output: ["y"],
        attribute: ["a"],
        attributeProto: [{ name: "b", type: 1, f: 0.5 }],
        valueInfo: [{ name: "x" }],
        metadataProps: [{ key: "k", value: "w" }],
      },
    ],
    graph: {
      name: "g",
      metadataProps: [{ key: "gk", value: "gv" }],
      quantizationAnnotation: [{ tensorName: "t", quantParameterTensorNames: [{ key: "SCALE_TENSOR", value: "s" }] }],
      initializer: [
        { name: "i", dims: [1], dataType: 7, int64Data: [-(2n ** 63n)], metadataProps: [{ key: "m", value: "n" }] },
      ],
      sparseInitializer: [
        {
          dims: [4],
          values: { name: "sp", dims: [1], dataType: 1, floatData: [1] },
          indices: { dims: [1], dataType: 7, int64Data: [2] },
        },
      ],
      input: [
        {
          name: "s",
          type: { sequenceType: { elemType: { tensorType: { elemType: 1, shape: { dim: [{ dimParam: "n" }] } } } } },
        },
        {
          name: "o",
          type: { optionalType: { elemType: { mapType: { keyType: 7, valueType: { tensorType: { elemType: 8 } } } } } },
        },
        { name: "q", type: { opaqueType: { domain: "d", name: "n" } }, metadataProps: [{ key: "vk", value: "vv" }] },
      ],
      node: [
        {
          opType: "f",
          domain: "d",
          overload: "o",
          input: ["s"],
          output: ["z"],
          metadataProps: [{ key: "nk", value: "nv" }],
          deviceConfigurations: [
            {
              configurationId: "c",
              pipelineStage: 1,
              shardingSpec: [
                {
                  tensorName: "s",
                  device: [0, -1],
                  indexToDeviceGroupMap: [{ key: -1, value: [0, 1] }],
                  shardedDim: [{ axis: 0, simpleSharding: [{ dimParam: "n", numShards: 2 }] }],
                },
              ],
            },
          ],
        },
      ],
    },
  };

  it("survives encoding and decoding", () => {
    expect(plain(decodeModel(encodeModel(everything)))).toEqual(everything);
  });

  it("keeps fields that no schema knows", () => {
    // Field 99 (varint) after the model's own fields, and in the graph.
    const extra = Uint8Array.of(0x98, 0x06, 0x07);
    const bytes = Uint8Array.from([...encodeModel(everything), ...extra]);
    const model = decodeModel(bytes);
    expect(model.unknownFields).toEqual([extra]);
    expect(decodeModel(encodeModel(model)).unknownFields).toEqual([extra]);
  });

  it("is read and written by protobufjs likewise, as far as its schema goes", () => {
    const { ModelProto } = onnxProto.onnx;
    const bytes = encodeModel(everything);
    const read = ModelProto.toObject(ModelProto.decode(bytes), { longs: String });
    expect(read).toMatchObject({ irVersion: "14", modelVersion: "4611686018427387905", metadataProps: [{ key: "k" }] });
    expect(read.graph).toMatchObject({
      initializer: [{ name: "i", dims: ["1"], int64Data: ["-9223372036854775808"] }],
      sparseInitializer: [{ values: { floatData: [1] } }],
      node: [{ opType: "f", input: ["s"], output: ["z"] }],
    });
    const again = ModelProto.encode(ModelProto.decode(bytes)).finish();
    expect(encodeModel(decodeModel(again))).toEqual(new Uint8Array(again));
  });

  it("works without eval", () => {
    const saved = globalThis.Function;
    const forbidden = () => {
      throw new Error("code generation");
    };
    globalThis.Function = forbidden as unknown as FunctionConstructor;
    try {
      expect(decodeModel(encodeModel(everything)).graph?.name).toBe("g");
    } finally {
      globalThis.Function = saved;
    }
  });
});

/** Own properties that aren't empty lists: decoded messages have classes with defaults. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  const own = Object.entries(value).filter(([, v]) => !Array.isArray(v) || v.length > 0);
  return Object.fromEntries(own.map(([key, v]) => [key, plain(v)]));
}

describe("tensors", () => {
  const samples: readonly [number, number[]][] = [
    [21, [0, 15, 7]],
    [22, [-8, 7, -1]],
    [25, [0, 3, 1, 2, 3]],
    [26, [-2, 1, -1]],
    [9, [1, 0, 1]],
    [1, [1.5, -0, 3]],
    [10, [0x3c00, 0]],
    [16, [0x3f80, 1]],
    [17, [0x38, 0x80]],
  ];
  it.each(samples)("of element type %i survive encoding", (code, values) => {
    const dtype = dtypeOfCode(code)!;
    expect(codeOfDType(dtype)).toBe(code);
    const original = decodeTensor({ ...tensorOf(code, values), name: "t" }, "t");
    expect(Array.from(original.data, Number)).toEqual(values);
    const again = decodeTensor(
      decodeMessage("TensorProto", encodeMessage("TensorProto", encodeTensor(original, "t"))),
      "t",
    );
    expect(again).toEqual(original);
  });

  function tensorOf(code: number, values: number[]) {
    const dims = [values.length];
    if (code === 1) return { dims, dataType: code, floatData: values };
    const bits = code === 21 || code === 22 ? 4 : code === 25 || code === 26 ? 2 : 8;
    if (bits === 8) return { dims, dataType: code, int32Data: values };
    const packed: number[] = [];
    for (const [i, v] of values.entries()) {
      const at = Math.floor((i * bits) / 8);
      packed[at] = (packed[at] ?? 0) | ((v & ((1 << bits) - 1)) << ((i * bits) % 8));
    }
    return { dims, dataType: code, int32Data: packed };
  }

  it("says what is wrong with a tensor", () => {
    expect(() => decodeTensor({ dims: [3], dataType: 1, rawData: new Uint8Array(8) }, "w")).toThrow(
      /w: 3 elements of float take 12 bytes, but the file has 8/,
    );
    expect(() => decodeTensor({ dims: [-1], dataType: 1 }, "w")).toThrow(ModelError);
    expect(() => decodeTensor({ dims: [2 ** 40, 2 ** 40], dataType: 1 }, "w")).toThrow(/too many elements/);
    expect(() => decodeTensor({ dims: [1], dataType: 14 }, "w")).toThrow(/complex64/);
    expect(() =>
      decodeTensor(
        { dims: [1], dataType: 1, dataLocation: 1, externalData: [{ key: "location", value: "w.bin" }] },
        "w",
      ),
    ).toThrow(/externalData/);
  });
});

describe.skipIf(!hasConformance)("conformance models", () => {
  it("all decode, read and encode without loss", () => {
    const tests = conformanceTests();
    expect(tests).toHaveLength(1677);
    for (const test of tests) {
      expect(roundTrips(test.model), test.name).toBe(true);
      const model = readModel(decodeModel(test.model));
      expect(model.graph.outputs.length, test.name).toBe(test.outputs.length);
      for (const [i, input] of model.graph.inputs.entries()) {
        const kind = input.type?.kind ?? "tensor";
        if (kind !== "unsupported" && test.inputs[i]) decodeValue(test.inputs[i], kind, `${test.name} input ${i}`);
      }
      for (const [i, output] of model.graph.outputs.entries()) {
        const kind = output.type?.kind ?? "tensor";
        if (kind !== "unsupported") decodeValue(test.outputs[i]!, kind, `${test.name} output ${i}`);
      }
    }
  });
});

describe.skipIf(!hasModels || !hasExports)("trained models and exports", () => {
  it("all decode, read and encode without loss", () => {
    const all = [...trainedModels(), ...pytorchExports()];
    expect(all).toHaveLength(32 + 81);
    for (const { name, path } of all) {
      const bytes = readFileSync(path);
      expect(roundTrips(bytes), name).toBe(true);
      expect(readModel(decodeModel(bytes)).graph.nodes.length, name).toBeGreaterThan(0);
    }
  });
});
