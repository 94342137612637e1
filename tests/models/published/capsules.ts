import { CapsNet, Capsules } from "../../../models/capsules/model.js";
import type { Published } from "../published.js";

export default [
  {
    // With the decoder.
    name: "CapsNet",
    build: () => new CapsNet(),
    parameters: 8_215_568,
    input: [1, 28, 28],
    output: [10, 16],
    exported: [
      {
        name: "capsnet",
        build: () =>
          new Capsules({ classes: 5, side: 23, channels: 12, kernel: 5, strides: [2, 2], types: 4, length: 8 }),
        rename: (name) => name.replace(/^W$/, "weight").replace(/^prim\./, "primary."),
      },
    ],
  },
] satisfies readonly Published[];
