import type { System } from "../system.js";

export default {
  reduced: { epochs: 3, reaches: 0 },
  exported: [{ entry: "predict" }],
} satisfies System;
