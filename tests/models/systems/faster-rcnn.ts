import type { System } from "../system.js";

export default {
  reduced: { epochs: 1, samples: 2000, reaches: 0.1 },
  exported: [{ entry: "predict" }],
} satisfies System;
