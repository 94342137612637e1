import type { System } from "../system.js";

export default {
  reduced: { epochs: 6, reaches: 0.6 },
  exported: [{ entry: "predict" }],
} satisfies System;
