import type { System } from "../system.js";

export default {
  reduced: { epochs: 1, samples: 8000, reaches: 3.45 },
  exported: [{ entry: "predict" }],
} satisfies System;
