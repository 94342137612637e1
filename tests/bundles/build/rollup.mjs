import { cpSync } from "node:fs";
import nodeResolve from "@rollup/plugin-node-resolve";
import { importMetaAssets } from "@web/rollup-plugin-import-meta-assets";
import { rollup } from "rollup";

const bundle = await rollup({
  input: "main.js",
  plugins: [nodeResolve({ browser: true }), importMetaAssets()],
  onwarn: (warning) => {
    throw new Error(warning.message);
  },
});
await bundle.write({ dir: "out", format: "es" });
cpSync("index.html", "out/index.html");
