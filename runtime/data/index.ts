/** Data for models: pipelines, readers of files, images, text. Works in Node and browsers; needs neither the compiler nor the runtime. */

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
export { Random, randomOf } from "./random.js";
export type { Column, Stream } from "./roots.js";
export type { Parts } from "./split.js";
export type { ElementContext } from "./transforms.js";
