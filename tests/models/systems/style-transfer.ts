import type { System } from "../system.js";

export default {
  reduced: { epochs: 1, reaches: 0.7 },
  exported: [{ entry: "paint" }, { entry: "judge" }],
} satisfies System;
