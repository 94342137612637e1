import { cpSync } from "node:fs";
import { join } from "node:path";
import { entry, plugin } from "./from-project.mjs";

/** Builds with webpack, or what is used as it is. Warnings are errors. */
export async function pack(packer, name) {
  const compiler = packer({
    context: process.cwd(),
    mode: "production",
    entry: `./${entry}`,
    output: { path: join(process.cwd(), "out"), filename: entry },
    plugins: plugin ? [plugin[name]()] : [],
  });
  const stats = await new Promise((resolve, reject) =>
    compiler.run((error, s) => (error ? reject(error) : resolve(s))),
  );
  if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString("errors-warnings"));
  cpSync("index.html", "out/index.html");
}
