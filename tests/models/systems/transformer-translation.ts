import type { System } from "../system.js";

export default {
  reduced: { epochs: 2, reaches: 0.03 },
  exported: [
    { entry: "predict", range: [1, 9] },
    { entry: "greedy", range: [1, 9] },
  ],
} satisfies System;
