import type { System } from "../system.js";

export default {
  reduced: { epochs: 2, reaches: 150 },
  exported: [{ entry: "values" }],
} satisfies System;
