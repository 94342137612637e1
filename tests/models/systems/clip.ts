import type { System } from "../system.js";

export default {
  reduced: { epochs: 3, reaches: 0.1 },
  exported: [{ entry: "compare", range: [0, 27] }],
} satisfies System;
