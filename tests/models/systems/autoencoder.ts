import type { System } from "../system.js";

export default {
  reduced: { epochs: 3, samples: 3000, reaches: 0.06 },
  exported: [{ entry: "predict" }, { entry: "encode" }, { entry: "decode" }],
} satisfies System;
