import { cpSync } from "node:fs";
import nodeResolve from "@rollup/plugin-node-resolve";
import { importMetaAssets } from "@web/rollup-plugin-import-meta-assets";
import { rollup } from "rollup";
import { entry, plugin } from "./from-project.mjs";

const bundle = await rollup({
  input: entry,
  plugins: [plugin?.rollup() ?? importMetaAssets(), nodeResolve({ browser: true })],
  onwarn: (warning) => {
    throw new Error(warning.message);
  },
});
await bundle.write({ dir: "out", format: "es" });
cpSync("index.html", "out/index.html");
