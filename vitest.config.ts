import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    // Threads share one process, so the wasm code caches and binaryen are loaded once per worker.
    pool: "threads",
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
