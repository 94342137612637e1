import type { System } from "../system.js";

export default {
  reduced: { epochs: 2, reaches: 50 },
  exported: [{ entry: "poleSee" }, { entry: "gridSee" }],
} satisfies System;
