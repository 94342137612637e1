import type { System } from "../system.js";

export default {
  reduced: { epochs: 1, reaches: 0.2 },
  exported: [{ entry: "caption" }, { entry: "predict", range: [1, 9] }],
} satisfies System;
