import type { System } from "../system.js";

export default {
  reduced: { epochs: 2, samples: 2000, reaches: 0.08 },
  exported: [{ entry: "predict" }],
} satisfies System;
