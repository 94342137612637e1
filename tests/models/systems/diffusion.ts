import type { System } from "../system.js";

export default {
  reduced: { epochs: 1, reaches: 1 },
  exported: [{ entry: "denoise" }],
} satisfies System;
