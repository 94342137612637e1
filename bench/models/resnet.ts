/** ResNet: https://arxiv.org/abs/1512.03385, with the stride in the 3×3 convolution of bottlenecks, as torchvision has it. */

import { nn } from "wasmith";
import { classifier, convolution } from "./blocks.js";

type Body = (from: number, width: number, stride: number) => nn.Layer;

const basic: Body = (from, width, stride) =>
  nn.sequential(convolution(from, width, 3, { stride, activation: "relu" }), convolution(width, width, 3));

const bottleneck: Body = (from, width, stride) =>
  nn.sequential(
    convolution(from, width, 1, { activation: "relu" }),
    convolution(width, width, 3, { stride, activation: "relu" }),
    convolution(width, 4 * width, 1),
  );

function resnet(body: Body, expansion: number, counts: readonly number[]) {
  let from = 64;
  const blocks = counts.flatMap((count, stage) =>
    Array.from({ length: count }, (_, i) => {
      const width = 64 << stage;
      const stride = i === 0 && stage > 0 ? 2 : 1;
      const to = width * expansion;
      const shortcut = stride === 1 && from === to ? [] : [convolution(from, to, 1, { stride })];
      const block = nn.sequential(nn.Residual(body(from, width, stride), ...shortcut), nn.ReLU());
      from = to;
      return block;
    }),
  );
  return nn.sequential(
    convolution(3, 64, 7, { stride: 2, activation: "relu" }),
    nn.MaxPool2d(3, { stride: 2, padding: 1 }),
    ...blocks,
    classifier(from, 1000),
  );
}

/** x [batch, 3, H, W] → logits [batch, 1000] */
export const resnet18 = () => resnet(basic, 1, [2, 2, 2, 2]);
export const resnet50 = () => resnet(bottleneck, 4, [3, 4, 6, 3]);
