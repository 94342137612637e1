import type { System } from "../system.js";

export default {
  reduced: { epochs: 3, reaches: 3.2 },
  exported: [{ entry: "adapt" }],
} satisfies System;
