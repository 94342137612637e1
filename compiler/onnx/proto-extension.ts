/**
 * What ONNX has that the schema of the package onnx-proto (ONNX 1.10) lacks, as data.
 *
 * `known` are the field numbers that onnx-proto's own decoder reads; `fields` are read and written by protobuf.ts on top
 * of it. A message with no `known` numbers is new as a whole. Whatever is in neither list is kept as unknown bytes.
 */
import type { MessageName } from "./proto-types.js";

export type FieldKind = "string" | "bytes" | "int32" | "int64" | MessageName;

export interface ExtensionField {
  readonly name: string;
  readonly kind: FieldKind;
  readonly repeated?: true;
}

export interface MessageExtension {
  readonly known: readonly number[];
  readonly fields: Readonly<Record<number, ExtensionField>>;
}

const metadataProps: ExtensionField = { name: "metadataProps", kind: "StringStringEntryProto", repeated: true };
const only = (known: readonly number[]): MessageExtension => ({ known, fields: {} });
const added = (fields: Readonly<Record<number, ExtensionField>>): MessageExtension => ({ known: [], fields });

export const EXTENSIONS: { readonly [M in MessageName]: MessageExtension } = {
  AttributeProto: only([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 20, 21, 22, 23]),
  ValueInfoProto: { known: [1, 2, 3], fields: { 4: metadataProps } },
  NodeProto: {
    known: [1, 2, 3, 4, 5, 6, 7],
    fields: {
      8: { name: "overload", kind: "string" },
      9: metadataProps,
      10: { name: "deviceConfigurations", kind: "NodeDeviceConfigurationProto", repeated: true },
    },
  },
  TrainingInfoProto: only([1, 2, 3, 4]),
  ModelProto: {
    known: [1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25],
    fields: { 26: { name: "configuration", kind: "DeviceConfigurationProto", repeated: true } },
  },
  StringStringEntryProto: only([1, 2]),
  TensorAnnotation: only([1, 2]),
  GraphProto: { known: [1, 2, 5, 10, 11, 12, 13, 14, 15], fields: { 16: metadataProps } },
  TensorProto: { known: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], fields: { 16: metadataProps } },
  "TensorProto.Segment": only([1, 2]),
  SparseTensorProto: only([1, 2, 3]),
  TensorShapeProto: only([1]),
  "TensorShapeProto.Dimension": only([1, 2, 3]),
  TypeProto: { known: [1, 4, 5, 6, 8, 9], fields: { 7: { name: "opaqueType", kind: "TypeProto.Opaque" } } },
  "TypeProto.Tensor": only([1, 2]),
  "TypeProto.Sequence": only([1]),
  "TypeProto.Map": only([1, 2]),
  "TypeProto.Optional": only([1]),
  "TypeProto.SparseTensor": only([1, 2]),
  "TypeProto.Opaque": added({ 1: { name: "domain", kind: "string" }, 2: { name: "name", kind: "string" } }),
  OperatorSetIdProto: only([1, 2]),
  FunctionProto: {
    known: [1, 4, 5, 6, 7, 8, 9, 10],
    fields: {
      11: { name: "attributeProto", kind: "AttributeProto", repeated: true },
      12: { name: "valueInfo", kind: "ValueInfoProto", repeated: true },
      13: { name: "overload", kind: "string" },
      14: metadataProps,
    },
  },
  IntIntListEntryProto: added({
    1: { name: "key", kind: "int64" },
    2: { name: "value", kind: "int64", repeated: true },
  }),
  NodeDeviceConfigurationProto: added({
    1: { name: "configurationId", kind: "string" },
    2: { name: "shardingSpec", kind: "ShardingSpecProto", repeated: true },
    3: { name: "pipelineStage", kind: "int32" },
  }),
  ShardingSpecProto: added({
    1: { name: "tensorName", kind: "string" },
    2: { name: "device", kind: "int64", repeated: true },
    3: { name: "indexToDeviceGroupMap", kind: "IntIntListEntryProto", repeated: true },
    4: { name: "shardedDim", kind: "ShardedDimProto", repeated: true },
  }),
  ShardedDimProto: added({
    1: { name: "axis", kind: "int64" },
    2: { name: "simpleSharding", kind: "SimpleShardedDimProto", repeated: true },
  }),
  SimpleShardedDimProto: added({
    1: { name: "dimValue", kind: "int64" },
    2: { name: "dimParam", kind: "string" },
    3: { name: "numShards", kind: "int64" },
  }),
  DeviceConfigurationProto: added({
    1: { name: "name", kind: "string" },
    2: { name: "numDevices", kind: "int32" },
    3: { name: "device", kind: "string", repeated: true },
  }),
  SequenceProto: added({
    1: { name: "name", kind: "string" },
    2: { name: "elemType", kind: "int32" },
    3: { name: "tensorValues", kind: "TensorProto", repeated: true },
    4: { name: "sparseTensorValues", kind: "SparseTensorProto", repeated: true },
    5: { name: "sequenceValues", kind: "SequenceProto", repeated: true },
    6: { name: "mapValues", kind: "MapProto", repeated: true },
    7: { name: "optionalValues", kind: "OptionalProto", repeated: true },
  }),
  MapProto: added({
    1: { name: "name", kind: "string" },
    2: { name: "keyType", kind: "int32" },
    3: { name: "keys", kind: "int64", repeated: true },
    4: { name: "stringKeys", kind: "bytes", repeated: true },
    5: { name: "values", kind: "SequenceProto" },
  }),
  OptionalProto: added({
    1: { name: "name", kind: "string" },
    2: { name: "elemType", kind: "int32" },
    3: { name: "tensorValue", kind: "TensorProto" },
    4: { name: "sparseTensorValue", kind: "SparseTensorProto" },
    5: { name: "sequenceValue", kind: "SequenceProto" },
    6: { name: "mapValue", kind: "MapProto" },
    7: { name: "optionalValue", kind: "OptionalProto" },
  }),
};
