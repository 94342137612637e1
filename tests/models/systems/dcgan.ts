import type { System } from "../system.js";

export default {
  reduced: { epochs: 4, reaches: 20 },
  exported: [{ entry: "generate" }, { entry: "discriminate" }],
} satisfies System;
