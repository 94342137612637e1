import type { System } from "../system.js";

export default {
  reduced: { epochs: 8, reaches: 1.35 },
  exported: [{ entry: "density" }, { entry: "sample" }],
} satisfies System;
