import type { System } from "../system.js";

export default {
  reduced: { epochs: 15, reaches: 100 },
  exported: [{ entry: "see" }],
} satisfies System;
