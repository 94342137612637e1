import { painter, published } from "../../../models/style-transfer/model.js";
import type { Published } from "../published.js";

export default [
  {
    name: "Johnson's style network",
    build: () => painter(published),
    parameters: 1_679_235,
    input: [3, 256, 256],
    output: [3, 256, 256],
  },
] satisfies readonly Published[];
