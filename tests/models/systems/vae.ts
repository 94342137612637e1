import type { System } from "../system.js";

export default {
  reduced: { epochs: 3, samples: 3000, reaches: 180 },
  exported: [{ entry: "predict" }, { entry: "encode" }],
} satisfies System;
