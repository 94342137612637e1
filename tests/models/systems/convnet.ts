import type { System } from "../system.js";

export default {
  reduced: { epochs: 4, samples: 2000, reaches: 0.85 },
  exported: [{ entry: "predict" }],
} satisfies System;
