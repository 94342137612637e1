import type { System } from "../system.js";

export default {
  reduced: { epochs: 4, reaches: 100 },
  exported: [{ entry: "act" }],
} satisfies System;
