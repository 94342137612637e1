import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/setup/build-worker.ts"],
    setupFiles: ["tests/setup/use-worker.ts"],
    // Threads share one process, so the wasm code caches and binaryen are loaded once per worker.
    pool: "threads",
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
