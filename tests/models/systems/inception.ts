import type { System } from "../system.js";

export default {
  reduced: { epochs: 1, samples: 3000, reaches: 0.4 },
  exported: [{ entry: "predict" }],
} satisfies System;
