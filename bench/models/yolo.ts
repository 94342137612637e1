/** Tiny YOLOv2: https://arxiv.org/abs/1612.08242. */

import { nn } from "wasmith";
import { convolution } from "./blocks.js";

const layer = (from: number, to: number) => convolution(from, to, 3, { activation: "leaky" });

/** x [batch, 3, 416, 416] → [batch, 125, 13, 13]: five boxes of 20 classes in each cell */
export const tinyYolo = () =>
  nn.sequential(
    ...[3, 16, 32, 64, 128].flatMap((from, i) => [layer(from, 16 << i), nn.MaxPool2d(2)]),
    layer(256, 512),
    nn.ConstantPad2d([0, 1, 0, 1], -1e30),
    nn.MaxPool2d(2, { stride: 1 }),
    layer(512, 1024),
    layer(1024, 1024),
    convolution(1024, 125, 1),
  );
