/** The generator of DCGAN: https://arxiv.org/abs/1511.06434. */

import { nn } from "wasmith";

const weightInit = nn.init.kaimingUniform({ mode: "fanOut" });
const up = (from: number, to: number, first = false) =>
  nn.ConvTranspose2d(from, to, 4, first ? { weightInit } : { stride: 2, padding: 1, weightInit });

/** z [batch, 100, 1, 1] → picture [batch, 3, 64, 64] */
export const dcgan = (width = 64) =>
  nn.sequential(
    up(100, 8 * width, true),
    nn.ReLU(),
    ...[8, 4, 2].flatMap((k) => [up(k * width, (k / 2) * width), nn.ReLU()]),
    up(width, 3),
    nn.Tanh(),
  );
