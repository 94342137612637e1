import type { System } from "../system.js";

export default {
  reduced: { epochs: 2, reaches: 0.25 },
  exported: [{ entry: "generate" }, { entry: "criticise" }],
} satisfies System;
