/**
 * The messages of an ONNX file as decoded: `onnx.proto` and `onnx-data.proto` of ONNX 1.23 (IR version 14).
 *
 * Every field is optional, as in protobuf. A field that was absent in the file is not an own property; reading it gives
 * protobuf's default ("" / 0 / empty list / null). 64-bit integers are numbers where exact, bigints beyond ±2^53.
 */

export type Int = number | bigint;

/** Fields that no known schema has, kept as they came (tag and payload) so that encoding loses nothing. */
export interface Unknowns {
  unknownFields?: Uint8Array[];
}

export interface StringStringEntryProto extends Unknowns {
  key?: string;
  value?: string;
}

export interface OperatorSetIdProto extends Unknowns {
  domain?: string;
  version?: Int;
}

export interface SegmentProto extends Unknowns {
  begin?: Int;
  end?: Int;
}

export interface TensorProto extends Unknowns {
  dims?: Int[];
  dataType?: number;
  segment?: SegmentProto | null;
  floatData?: number[];
  int32Data?: number[];
  stringData?: Uint8Array[];
  int64Data?: Int[];
  name?: string;
  docString?: string;
  rawData?: Uint8Array;
  externalData?: StringStringEntryProto[];
  dataLocation?: number;
  doubleData?: number[];
  uint64Data?: Int[];
  metadataProps?: StringStringEntryProto[];
}

export interface SparseTensorProto extends Unknowns {
  values?: TensorProto | null;
  indices?: TensorProto | null;
  dims?: Int[];
}

export interface DimensionProto extends Unknowns {
  dimValue?: Int | null;
  dimParam?: string | null;
  denotation?: string;
}

export interface TensorShapeProto extends Unknowns {
  dim?: DimensionProto[];
}

export interface TensorTypeProto extends Unknowns {
  elemType?: number;
  shape?: TensorShapeProto | null;
}

export interface ElementTypeProto extends Unknowns {
  elemType?: TypeProto | null;
}

export interface MapTypeProto extends Unknowns {
  keyType?: number;
  valueType?: TypeProto | null;
}

export interface OpaqueTypeProto extends Unknowns {
  domain?: string;
  name?: string;
}

export interface TypeProto extends Unknowns {
  tensorType?: TensorTypeProto | null;
  sequenceType?: ElementTypeProto | null;
  mapType?: MapTypeProto | null;
  optionalType?: ElementTypeProto | null;
  sparseTensorType?: TensorTypeProto | null;
  opaqueType?: OpaqueTypeProto | null;
  denotation?: string;
}

export interface ValueInfoProto extends Unknowns {
  name?: string;
  type?: TypeProto | null;
  docString?: string;
  metadataProps?: StringStringEntryProto[];
}

export interface AttributeProto extends Unknowns {
  name?: string;
  refAttrName?: string;
  docString?: string;
  type?: number;
  f?: number;
  i?: Int;
  s?: Uint8Array;
  t?: TensorProto | null;
  g?: GraphProto | null;
  sparseTensor?: SparseTensorProto | null;
  tp?: TypeProto | null;
  floats?: number[];
  ints?: Int[];
  strings?: Uint8Array[];
  tensors?: TensorProto[];
  graphs?: GraphProto[];
  sparseTensors?: SparseTensorProto[];
  typeProtos?: TypeProto[];
}

export interface SimpleShardedDimProto extends Unknowns {
  dimValue?: Int;
  dimParam?: string;
  numShards?: Int;
}

export interface ShardedDimProto extends Unknowns {
  axis?: Int;
  simpleSharding?: SimpleShardedDimProto[];
}

export interface IntIntListEntryProto extends Unknowns {
  key?: Int;
  value?: Int[];
}

export interface ShardingSpecProto extends Unknowns {
  tensorName?: string;
  device?: Int[];
  indexToDeviceGroupMap?: IntIntListEntryProto[];
  shardedDim?: ShardedDimProto[];
}

export interface NodeDeviceConfigurationProto extends Unknowns {
  configurationId?: string;
  shardingSpec?: ShardingSpecProto[];
  pipelineStage?: number;
}

export interface DeviceConfigurationProto extends Unknowns {
  name?: string;
  numDevices?: number;
  device?: string[];
}

export interface NodeProto extends Unknowns {
  input?: string[];
  output?: string[];
  name?: string;
  opType?: string;
  domain?: string;
  overload?: string;
  attribute?: AttributeProto[];
  docString?: string;
  metadataProps?: StringStringEntryProto[];
  deviceConfigurations?: NodeDeviceConfigurationProto[];
}

export interface TensorAnnotation extends Unknowns {
  tensorName?: string;
  quantParameterTensorNames?: StringStringEntryProto[];
}

export interface GraphProto extends Unknowns {
  node?: NodeProto[];
  name?: string;
  initializer?: TensorProto[];
  sparseInitializer?: SparseTensorProto[];
  docString?: string;
  input?: ValueInfoProto[];
  output?: ValueInfoProto[];
  valueInfo?: ValueInfoProto[];
  quantizationAnnotation?: TensorAnnotation[];
  metadataProps?: StringStringEntryProto[];
}

export interface TrainingInfoProto extends Unknowns {
  initialization?: GraphProto | null;
  algorithm?: GraphProto | null;
  initializationBinding?: StringStringEntryProto[];
  updateBinding?: StringStringEntryProto[];
}

export interface FunctionProto extends Unknowns {
  name?: string;
  input?: string[];
  output?: string[];
  attribute?: string[];
  attributeProto?: AttributeProto[];
  node?: NodeProto[];
  docString?: string;
  opsetImport?: OperatorSetIdProto[];
  domain?: string;
  overload?: string;
  valueInfo?: ValueInfoProto[];
  metadataProps?: StringStringEntryProto[];
}

export interface ModelProto extends Unknowns {
  irVersion?: Int;
  opsetImport?: OperatorSetIdProto[];
  producerName?: string;
  producerVersion?: string;
  domain?: string;
  modelVersion?: Int;
  docString?: string;
  graph?: GraphProto | null;
  metadataProps?: StringStringEntryProto[];
  trainingInfo?: TrainingInfoProto[];
  functions?: FunctionProto[];
  configuration?: DeviceConfigurationProto[];
}

export interface SequenceProto extends Unknowns {
  name?: string;
  elemType?: number;
  tensorValues?: TensorProto[];
  sparseTensorValues?: SparseTensorProto[];
  sequenceValues?: SequenceProto[];
  mapValues?: MapProto[];
  optionalValues?: OptionalProto[];
}

export interface MapProto extends Unknowns {
  name?: string;
  keyType?: number;
  keys?: Int[];
  stringKeys?: Uint8Array[];
  values?: SequenceProto;
}

export interface OptionalProto extends Unknowns {
  name?: string;
  elemType?: number;
  tensorValue?: TensorProto;
  sparseTensorValue?: SparseTensorProto;
  sequenceValue?: SequenceProto;
  mapValue?: MapProto;
  optionalValue?: OptionalProto;
}

export interface Messages {
  AttributeProto: AttributeProto;
  ValueInfoProto: ValueInfoProto;
  NodeProto: NodeProto;
  TrainingInfoProto: TrainingInfoProto;
  ModelProto: ModelProto;
  StringStringEntryProto: StringStringEntryProto;
  TensorAnnotation: TensorAnnotation;
  GraphProto: GraphProto;
  TensorProto: TensorProto;
  "TensorProto.Segment": SegmentProto;
  SparseTensorProto: SparseTensorProto;
  TensorShapeProto: TensorShapeProto;
  "TensorShapeProto.Dimension": DimensionProto;
  TypeProto: TypeProto;
  "TypeProto.Tensor": TensorTypeProto;
  "TypeProto.Sequence": ElementTypeProto;
  "TypeProto.Map": MapTypeProto;
  "TypeProto.Optional": ElementTypeProto;
  "TypeProto.SparseTensor": TensorTypeProto;
  "TypeProto.Opaque": OpaqueTypeProto;
  OperatorSetIdProto: OperatorSetIdProto;
  FunctionProto: FunctionProto;
  IntIntListEntryProto: IntIntListEntryProto;
  NodeDeviceConfigurationProto: NodeDeviceConfigurationProto;
  ShardingSpecProto: ShardingSpecProto;
  ShardedDimProto: ShardedDimProto;
  SimpleShardedDimProto: SimpleShardedDimProto;
  DeviceConfigurationProto: DeviceConfigurationProto;
  SequenceProto: SequenceProto;
  MapProto: MapProto;
  OptionalProto: OptionalProto;
}

export type MessageName = keyof Messages;
