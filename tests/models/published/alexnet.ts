import { nn } from "wasmith";
import { AlexNet } from "../../../models/alexnet/model.js";
import type { Published } from "../published.js";

export default [
  {
    name: "AlexNet",
    build: () => new AlexNet(),
    parameters: 61_100_840,
    input: [3, 224, 224],
    output: [1000],
    exported: [
      {
        name: "alexnet",
        build: () => new AlexNet({ channels: [16, 32, 48, 32, 32], hidden: [128, 64], side: 3, classes: 10 }),
      },
      {
        name: "alexnet_lrn",
        build: () =>
          new AlexNet({
            channels: [12, 24, 36, 24, 24],
            hidden: [128, 64],
            side: 3,
            classes: 10,
            groups: 2,
            norms: [nn.LocalResponseNorm(5, { k: 2 }), nn.LocalResponseNorm(5, { alpha: 1e-3 })],
          }),
      },
    ],
  },
] satisfies readonly Published[];
