/** MobileNetV2: https://arxiv.org/abs/1801.04381. */

import { nn } from "wasmith";
import { classifier, convolution } from "./blocks.js";

function invertedResidual(from: number, to: number, stride: number, expansion: number): nn.Layer {
  const wide = from * expansion;
  const body = nn.sequential(
    ...(expansion === 1 ? [] : [convolution(from, wide, 1, { activation: "relu6" })]),
    convolution(wide, wide, 3, { stride, groups: wide, activation: "relu6" }),
    convolution(wide, to, 1),
  );
  return stride === 1 && from === to ? nn.Residual(body) : body;
}

/** Expansion, channels, blocks, stride of the first. */
const stages = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

/** x [batch, 3, H, W] → logits [batch, 1000] */
export function mobilenetV2() {
  let from = 32;
  const blocks = stages.flatMap(([expansion, to, count, stride]) =>
    Array.from({ length: count }, (_, i) => {
      const block = invertedResidual(from, to, i === 0 ? stride : 1, expansion);
      from = to;
      return block;
    }),
  );
  return nn.sequential(
    convolution(3, 32, 3, { stride: 2, activation: "relu6" }),
    ...blocks,
    convolution(320, 1280, 1, { activation: "relu6" }),
    classifier(1280, 1000),
  );
}
