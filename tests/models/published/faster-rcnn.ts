import { fasterRcnnResNet50 } from "../../../models/faster-rcnn/published.js";
import type { Published } from "../published.js";

export default [
  {
    name: "Faster R-CNN, ResNet-50",
    build: () => fasterRcnnResNet50(),
    parameters: 41_755_286,
    input: [3, 800, 800],
    output: [100, 6],
  },
] satisfies readonly Published[];
