import type { System } from "../system.js";

export default {
  reduced: { epochs: 2, samples: 1500, reaches: 0.4 },
  exported: [{ entry: "predict" }],
} satisfies System;
