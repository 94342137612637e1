/** Data for models: pipelines, readers of files, images, text. Works in Node and browsers; needs neither the compiler nor the runtime. */

export { ModelError, type Problem } from "../errors.js";
export type { BinarySource } from "../read.js";
export type { Tensor, TensorData } from "../tensor.js";
export type { Joining } from "./batching.js";
export type { Padding, Paddings } from "./collate.js";
export {
  type Batch,
  type Batched,
  type BatchOptions,
  type BucketOptions,
  Dataset,
  type DatasetOptions,
  dataset,
  type MapOptions,
  type Row,
  type ShuffleOptions,
  type SplitOptions,
} from "./dataset.js";
export { type AugmentOptions, augment, cutmix, type MixOptions, mixup } from "./image/augment.js";
export { type ColorOptions, color, maybe, type NormalizeOptions, normalize } from "./image/color.js";
export {
  type CropOptions,
  centerCrop,
  crop,
  type FlipOptions,
  flip,
  type RotateOptions,
  resize,
  rotate,
  type ShiftOptions,
  type Size,
  shift,
} from "./image/geometry.js";
export type { Image, ImageOp, Layout } from "./image/image.js";
export { Random, randomOf } from "./random.js";
export { readIdx, readNpy, readNpz, readSafetensors } from "./read/arrays.js";
export type { ReadOptions } from "./read/bytes.js";
export { type ImageOptions, readImage } from "./read/image.js";
export {
  type Cell,
  type CellType,
  type CsvOptions,
  type CsvRow,
  readCsv,
  readJsonLines,
  readLines,
  readText,
  type TextOptions,
} from "./read/text.js";
export type { Column, Stream } from "./roots.js";
export type { Parts } from "./split.js";
export {
  loadTokenizer,
  type PretrainedEncodeOptions,
  type PretrainedEncoding,
  type PretrainedOptions,
  type PretrainedTokenizer,
} from "./text/pretrained.js";
export { type EncodeOptions, type StoredVocabulary, Vocabulary, type VocabularyOptions } from "./text/vocabulary.js";
export { type Tokenize, type TokenizerOptions, tokenizer } from "./text/words.js";
export type { ElementContext } from "./transforms.js";
