import { ResNet, resnet18, resnet50 } from "../../../models/resnet/model.js";
import type { Published } from "../published.js";

const picture = { input: [3, 224, 224], output: [1000] };

export default [
  {
    name: "ResNet-18",
    build: resnet18,
    parameters: 11_689_512,
    ...picture,
    exported: [
      {
        name: "resnet18_bn_nodes_op11",
        build: () => new ResNet({ width: 8, classes: 10 }),
        // The export has all blocks in one list.
        rename: (name) => name.replace(/^layers\.(\d)/, (_, i) => `layer${1 + (i >> 1)}.${i & 1}`),
      },
    ],
  },
  { name: "ResNet-50", build: resnet50, parameters: 25_557_032, ...picture },
] satisfies readonly Published[];
