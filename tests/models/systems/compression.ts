import type { System } from "../system.js";

export default {
  reduced: { epochs: 1, reaches: 0.75 },
  exported: [{ entry: "predict" }],
} satisfies System;
