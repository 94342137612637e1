import type { System } from "../system.js";

export default {
  reduced: { epochs: 3, reaches: 0.9 },
  exported: [{ entry: "generate" }, { entry: "discriminate" }],
} satisfies System;
