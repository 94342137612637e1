import { DenseNet } from "../../../models/densenet/model.js";
import type { Published } from "../published.js";

export default [
  {
    name: "DenseNet-121",
    build: () => new DenseNet(),
    parameters: 7_978_856,
    input: [3, 224, 224],
    output: [1000],
    exported: [
      {
        name: "densenet",
        build: () => new DenseNet({ depths: [2, 3, 2], growth: 6, bottleneck: 2, width: 12, classes: 10 }),
      },
    ],
  },
] satisfies readonly Published[];
