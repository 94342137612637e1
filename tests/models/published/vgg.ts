import { stages, Vgg } from "../../../models/vgg/model.js";
import type { Published } from "../published.js";

const narrow = { depths: stages.vgg11, hidden: 64, side: 1, classes: 10 };

export default [
  {
    name: "VGG-16",
    build: () => new Vgg(),
    parameters: 138_357_544,
    input: [3, 224, 224],
    output: [1000],
    exported: [
      { name: "vgg11", build: () => new Vgg({ ...narrow, channels: [8, 16, 32, 64, 64] }) },
      { name: "vgg11_bn_nodes", build: () => new Vgg({ ...narrow, channels: [8, 8, 16, 24, 24], norms: true }) },
    ],
  },
] satisfies readonly Published[];
