import { FcnResNet50 } from "../../../models/fcn/published.js";
import type { Published } from "../published.js";

const picture = { input: [3, 520, 520], output: [21, 520, 520] };

export default [
  { name: "FCN, ResNet-50", build: () => new FcnResNet50(), parameters: 35_322_218, ...picture },
  {
    name: "FCN, ResNet-50, without scores on the way",
    build: () => new FcnResNet50({ aux: false }),
    parameters: 32_957_013,
    ...picture,
  },
] satisfies readonly Published[];
