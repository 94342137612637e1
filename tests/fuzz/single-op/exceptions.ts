/** Where ONNX Runtime is not what ONNX defines: what it gives there is not compared. */
import type { SingleOp } from "./draw.js";

interface Exception {
  readonly op: string;
  readonly when: (single: SingleOp) => boolean;
  readonly why: string;
}

export const EXCEPTIONS: readonly Exception[] = [
  {
    op: "ConvTranspose",
    when: ({ attrs }) => String(attrs.auto_pad).startsWith("SAME"),
    why: "the result of SAME has stride times the input's size; where windows leave gaps, ONNX Runtime gives what they reach",
  },
];

/** The reason why ONNX Runtime's result does not count, if there is one. */
export const excused = (single: SingleOp): string | undefined =>
  EXCEPTIONS.find(({ op, when }) => op === single.op && when(single))?.why;
