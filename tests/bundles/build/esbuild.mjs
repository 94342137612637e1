import { cpSync } from "node:fs";
import { build } from "esbuild";
import { entry, plugin } from "./from-project.mjs";

const { warnings } = await build({
  entryPoints: [entry],
  bundle: true,
  minify: true,
  splitting: true,
  format: "esm",
  outdir: "out",
  plugins: [plugin.esbuild()],
});
if (warnings.length > 0) throw new Error(JSON.stringify(warnings));
cpSync("index.html", "out/index.html");
