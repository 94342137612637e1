import { cpSync } from "node:fs";
import { join } from "node:path";
import webpack from "webpack";

const compiler = webpack({
  context: process.cwd(),
  mode: "production",
  entry: "./main.js",
  output: { path: join(process.cwd(), "out"), filename: "main.js" },
});
const stats = await new Promise((resolve, reject) => compiler.run((error, s) => (error ? reject(error) : resolve(s))));
if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString("errors-warnings"));
cpSync("index.html", "out/index.html");
