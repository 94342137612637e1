import { build } from "vite";

await build({ root: process.cwd(), logLevel: "warn", build: { outDir: "out" } });
