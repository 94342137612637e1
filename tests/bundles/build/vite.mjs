import { build } from "vite";
import { plugin } from "./from-project.mjs";

await build({
  root: process.cwd(),
  logLevel: "warn",
  build: { outDir: "out" },
  plugins: plugin ? [plugin.vite()] : [],
});
