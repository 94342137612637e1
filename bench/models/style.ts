/** Fast style transfer: https://arxiv.org/abs/1603.08155, with instance norms, reflected edges and upsampling before convolutions. */

import { nn } from "wasmith";

const conv = (from: number, to: number, kernel: number, stride = 1): readonly nn.Layer[] => [
  nn.ReflectionPad2d(kernel >> 1),
  nn.Conv2d(from, to, kernel, { stride, weightInit: nn.init.kaimingUniform() }),
];
const layer = (from: number, to: number, kernel: number, stride = 1): readonly nn.Layer[] => [
  ...conv(from, to, kernel, stride),
  nn.InstanceNorm2d(to, { affine: true }),
  nn.ReLU(),
];
const residual = (channels: number): nn.Layer =>
  nn.Residual(
    nn.sequential(
      ...layer(channels, channels, 3),
      ...conv(channels, channels, 3),
      nn.InstanceNorm2d(channels, { affine: true }),
    ),
  );

/** x [batch, 3, H, W] → picture of the same size */
export const styleTransfer = () =>
  nn.sequential(
    ...layer(3, 32, 9),
    ...layer(32, 64, 3, 2),
    ...layer(64, 128, 3, 2),
    ...Array.from({ length: 5 }, () => residual(128)),
    nn.Upsample({ scale: 2 }),
    ...layer(128, 64, 3),
    nn.Upsample({ scale: 2 }),
    ...layer(64, 32, 3),
    ...conv(32, 3, 9),
  );
