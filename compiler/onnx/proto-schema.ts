/**
 * The messages of an ONNX file as they lie in it: `onnx.proto` and `onnx-data.proto` of ONNX 1.23, by the numbers of their fields. A kind in
 * brackets is a list.
 */
import type { MessageName } from "./proto-types.js";

export type ScalarKind = "int32" | "int64" | "uint64" | "float" | "double" | "string" | "bytes";
export type FieldKind = ScalarKind | MessageName;

/** `alternative`: one of several of which a message has one; null where it has another. */
type Field = readonly [name: string, kind: FieldKind | readonly [FieldKind], alternative?: "alternative"];

/** Enumerations are int32. */
export const schemas: { readonly [M in MessageName]: Readonly<Record<number, Field>> } = {
  AttributeProto: {
    1: ["name", "string"],
    2: ["f", "float"],
    3: ["i", "int64"],
    4: ["s", "bytes"],
    5: ["t", "TensorProto"],
    6: ["g", "GraphProto"],
    7: ["floats", ["float"]],
    8: ["ints", ["int64"]],
    9: ["strings", ["bytes"]],
    10: ["tensors", ["TensorProto"]],
    11: ["graphs", ["GraphProto"]],
    13: ["docString", "string"],
    14: ["tp", "TypeProto"],
    15: ["typeProtos", ["TypeProto"]],
    20: ["type", "int32"],
    21: ["refAttrName", "string"],
    22: ["sparseTensor", "SparseTensorProto"],
    23: ["sparseTensors", ["SparseTensorProto"]],
  },
  ValueInfoProto: {
    1: ["name", "string"],
    2: ["type", "TypeProto"],
    3: ["docString", "string"],
    4: ["metadataProps", ["StringStringEntryProto"]],
  },
  NodeProto: {
    1: ["input", ["string"]],
    2: ["output", ["string"]],
    3: ["name", "string"],
    4: ["opType", "string"],
    5: ["attribute", ["AttributeProto"]],
    6: ["docString", "string"],
    7: ["domain", "string"],
    8: ["overload", "string"],
    9: ["metadataProps", ["StringStringEntryProto"]],
    10: ["deviceConfigurations", ["NodeDeviceConfigurationProto"]],
  },
  TrainingInfoProto: {
    1: ["initialization", "GraphProto"],
    2: ["algorithm", "GraphProto"],
    3: ["initializationBinding", ["StringStringEntryProto"]],
    4: ["updateBinding", ["StringStringEntryProto"]],
  },
  ModelProto: {
    1: ["irVersion", "int64"],
    2: ["producerName", "string"],
    3: ["producerVersion", "string"],
    4: ["domain", "string"],
    5: ["modelVersion", "int64"],
    6: ["docString", "string"],
    7: ["graph", "GraphProto"],
    8: ["opsetImport", ["OperatorSetIdProto"]],
    14: ["metadataProps", ["StringStringEntryProto"]],
    20: ["trainingInfo", ["TrainingInfoProto"]],
    25: ["functions", ["FunctionProto"]],
    26: ["configuration", ["DeviceConfigurationProto"]],
  },
  StringStringEntryProto: {
    1: ["key", "string"],
    2: ["value", "string"],
  },
  TensorAnnotation: {
    1: ["tensorName", "string"],
    2: ["quantParameterTensorNames", ["StringStringEntryProto"]],
  },
  GraphProto: {
    1: ["node", ["NodeProto"]],
    2: ["name", "string"],
    5: ["initializer", ["TensorProto"]],
    10: ["docString", "string"],
    11: ["input", ["ValueInfoProto"]],
    12: ["output", ["ValueInfoProto"]],
    13: ["valueInfo", ["ValueInfoProto"]],
    14: ["quantizationAnnotation", ["TensorAnnotation"]],
    15: ["sparseInitializer", ["SparseTensorProto"]],
    16: ["metadataProps", ["StringStringEntryProto"]],
  },
  TensorProto: {
    1: ["dims", ["int64"]],
    2: ["dataType", "int32"],
    3: ["segment", "TensorProto.Segment"],
    4: ["floatData", ["float"]],
    5: ["int32Data", ["int32"]],
    6: ["stringData", ["bytes"]],
    7: ["int64Data", ["int64"]],
    8: ["name", "string"],
    9: ["rawData", "bytes"],
    10: ["doubleData", ["double"]],
    11: ["uint64Data", ["uint64"]],
    12: ["docString", "string"],
    13: ["externalData", ["StringStringEntryProto"]],
    14: ["dataLocation", "int32"],
    16: ["metadataProps", ["StringStringEntryProto"]],
  },
  "TensorProto.Segment": {
    1: ["begin", "int64"],
    2: ["end", "int64"],
  },
  SparseTensorProto: {
    1: ["values", "TensorProto"],
    2: ["indices", "TensorProto"],
    3: ["dims", ["int64"]],
  },
  TensorShapeProto: {
    1: ["dim", ["TensorShapeProto.Dimension"]],
  },
  "TensorShapeProto.Dimension": {
    1: ["dimValue", "int64", "alternative"],
    2: ["dimParam", "string", "alternative"],
    3: ["denotation", "string"],
  },
  TypeProto: {
    1: ["tensorType", "TypeProto.Tensor"],
    4: ["sequenceType", "TypeProto.Sequence"],
    5: ["mapType", "TypeProto.Map"],
    6: ["denotation", "string"],
    7: ["opaqueType", "TypeProto.Opaque"],
    8: ["sparseTensorType", "TypeProto.SparseTensor"],
    9: ["optionalType", "TypeProto.Optional"],
  },
  "TypeProto.Tensor": {
    1: ["elemType", "int32"],
    2: ["shape", "TensorShapeProto"],
  },
  "TypeProto.Sequence": {
    1: ["elemType", "TypeProto"],
  },
  "TypeProto.Map": {
    1: ["keyType", "int32"],
    2: ["valueType", "TypeProto"],
  },
  "TypeProto.Optional": {
    1: ["elemType", "TypeProto"],
  },
  "TypeProto.SparseTensor": {
    1: ["elemType", "int32"],
    2: ["shape", "TensorShapeProto"],
  },
  "TypeProto.Opaque": {
    1: ["domain", "string"],
    2: ["name", "string"],
  },
  OperatorSetIdProto: {
    1: ["domain", "string"],
    2: ["version", "int64"],
  },
  FunctionProto: {
    1: ["name", "string"],
    4: ["input", ["string"]],
    5: ["output", ["string"]],
    6: ["attribute", ["string"]],
    7: ["node", ["NodeProto"]],
    8: ["docString", "string"],
    9: ["opsetImport", ["OperatorSetIdProto"]],
    10: ["domain", "string"],
    11: ["attributeProto", ["AttributeProto"]],
    12: ["valueInfo", ["ValueInfoProto"]],
    13: ["overload", "string"],
    14: ["metadataProps", ["StringStringEntryProto"]],
  },
  IntIntListEntryProto: {
    1: ["key", "int64"],
    2: ["value", ["int64"]],
  },
  NodeDeviceConfigurationProto: {
    1: ["configurationId", "string"],
    2: ["shardingSpec", ["ShardingSpecProto"]],
    3: ["pipelineStage", "int32"],
  },
  ShardingSpecProto: {
    1: ["tensorName", "string"],
    2: ["device", ["int64"]],
    3: ["indexToDeviceGroupMap", ["IntIntListEntryProto"]],
    4: ["shardedDim", ["ShardedDimProto"]],
  },
  ShardedDimProto: {
    1: ["axis", "int64"],
    2: ["simpleSharding", ["SimpleShardedDimProto"]],
  },
  SimpleShardedDimProto: {
    1: ["dimValue", "int64", "alternative"],
    2: ["dimParam", "string", "alternative"],
    3: ["numShards", "int64"],
  },
  DeviceConfigurationProto: {
    1: ["name", "string"],
    2: ["numDevices", "int32"],
    3: ["device", ["string"]],
  },
  SequenceProto: {
    1: ["name", "string"],
    2: ["elemType", "int32"],
    3: ["tensorValues", ["TensorProto"]],
    4: ["sparseTensorValues", ["SparseTensorProto"]],
    5: ["sequenceValues", ["SequenceProto"]],
    6: ["mapValues", ["MapProto"]],
    7: ["optionalValues", ["OptionalProto"]],
  },
  MapProto: {
    1: ["name", "string"],
    2: ["keyType", "int32"],
    3: ["keys", ["int64"]],
    4: ["stringKeys", ["bytes"]],
    5: ["values", "SequenceProto"],
  },
  OptionalProto: {
    1: ["name", "string"],
    2: ["elemType", "int32"],
    3: ["tensorValue", "TensorProto"],
    4: ["sparseTensorValue", "SparseTensorProto"],
    5: ["sequenceValue", "SequenceProto"],
    6: ["mapValue", "MapProto"],
    7: ["optionalValue", "OptionalProto"],
  },
};
