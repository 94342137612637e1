import { execFileSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Tests that run the relaxed variants in their own process. */
const relaxed = [
  "tests/onnx/recorded-*.test.ts",
  "tests/onnx/cases.test.ts",
  "tests/trajectories/*.test.ts",
  "tests/e2e/optimizers.test.ts",
  "tests/kernels/quads.test.ts",
];
/** Node 20 has relaxed SIMD behind a flag that a running process can't set; later versions know it without. */
const relaxedFlag = "--experimental-wasm-relaxed-simd";
const knowsFlag = execFileSync(process.execPath, ["--v8-options"], { encoding: "utf8" }).includes(relaxedFlag);

const source = (path: string): string => new URL(path, import.meta.url).pathname;

export default defineConfig({
  // Models are written as their users write them.
  resolve: {
    alias: [
      { find: /^wasmith$/, replacement: source("index.ts") },
      { find: /^wasmith\/runtime$/, replacement: source("runtime/index.ts") },
      { find: /^wasmith\/data$/, replacement: source("runtime/data/index.ts") },
      { find: /^wasmith\/callbacks$/, replacement: source("runtime/callbacks/index.ts") },
    ],
  },
  test: {
    globalSetup: ["tests/setup/build-worker.ts"],
    // .ci/run counts what this file says.
    ...(process.env.CI ? { reporters: ["default", "json"], outputFile: { json: "test-results.json" } } : {}),
    projects: [
      {
        extends: true,
        test: {
          name: "tests",
          include: ["tests/**/*.test.ts"],
          exclude: [...relaxed, "**/node_modules/**"],
          // Threads share one process, so the wasm code caches and binaryen are loaded once per worker.
          pool: "threads",
        },
      },
      {
        extends: true,
        test: {
          name: "relaxed",
          include: relaxed,
          pool: "forks",
          execArgv: knowsFlag ? [relaxedFlag] : [],
        },
      },
    ],
    setupFiles: ["tests/setup/use-worker.ts", "tests/setup/typed-arrays.ts"],
    // The difference of two tensors takes minutes and gigabytes to write where all of it is different.
    diff: { truncateThreshold: 2000 },
    // vitest leaves a core to itself, which idles while tests run: of two cores that is half of them.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
