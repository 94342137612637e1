import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/setup/build-worker.ts"],
    setupFiles: ["tests/setup/use-worker.ts"],
    // .ci/run counts what this file says.
    ...(process.env.CI ? { reporters: ["default", "json"], outputFile: { json: "test-results.json" } } : {}),
    // Threads share one process, so the wasm code caches and binaryen are loaded once per worker.
    pool: "threads",
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
