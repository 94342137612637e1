import type { System } from "../system.js";

export default {
  reduced: { epochs: 1, reaches: 129.4 },
  exported: [{ entry: "predict" }],
} satisfies System;
