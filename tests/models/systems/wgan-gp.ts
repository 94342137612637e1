import type { System } from "../system.js";

export default {
  reduced: { epochs: 1, reaches: 0.6 },
  exported: [{ entry: "generate" }, { entry: "criticise" }],
} satisfies System;
