/** What tests know of a network at its published size. Files of tests/models/published list them. */

import type { nn } from "wasmith";

/** A network as PyTorch exported it with its weights, mostly a narrow one (WASMITH_DATA/reference/onnx). */
export interface Exported {
  readonly name: string;
  readonly build: () => nn.Module;
  /** The network's name of a weight, or of a folded convolution, where the export gives it another. */
  readonly rename?: (name: string) => string;
  /** The epsilon of norms that the exporter joined with the convolutions before them. */
  readonly folded?: number;
}

export interface Published {
  readonly name: string;
  readonly build: () => nn.Module;
  /** Learnt numbers, PyTorch's count. */
  readonly parameters: number;
  /** Shape of a picture (or of what else it takes), and of the result for one. */
  readonly input: readonly number[];
  /** Of the input. Default: f32. */
  readonly dtype?: "f32" | "i64";
  readonly output: readonly number[];
  readonly exported?: readonly Exported[];
}
