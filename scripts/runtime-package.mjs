/**
 * The package `wasmith-runtime`: the runtime's files of dist/ as they are, in packages/runtime/dist/, with declarations in one file. What
 * trains on data sets and exports stays with the package wasmith, so that this one takes at most 100 KB where it is installed.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundledDeclarations } from "./declarations.mjs";

/** Modules that the runtime loads on demand, and what is asked for by who needs them. */
const leftOut = { fit: "fit, evaluate", onnx: "exportOnnx" };
/** These are loaded by modules that are left out. */
const unreachable = ["report", "svg"];
/** Files of declarations whose comments are for those who read the format, or train on data sets. */
const forFew = ["format", "dataset", "events", "fit", "history", "machine"];

export function buildRuntimePackage(root) {
  const [from, to] = [join(root, "dist"), join(root, "packages/runtime/dist")];
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  const files = JSON.parse(readFileSync(join(from, "runtime-files.json"), "utf8"));
  for (const file of files) {
    const name = file.replace(/\.js$/, "");
    if (name in leftOut) {
      const message = `${leftOut[name]}: not part of wasmith-runtime\n  → npm install wasmith, and import wasmith/runtime`;
      writeFileSync(join(to, file), `throw new Error(${JSON.stringify(message)});\n`);
    } else if (!unreachable.includes(name)) copyFileSync(join(from, file), join(to, file));
  }
  const declarations = bundledDeclarations(join(from, "types/runtime/index.d.ts"), forFew);
  // tsc indents by four.
  writeFileSync(
    join(to, "runtime.d.ts"),
    declarations.replace(/^( {4})+/gm, (indent) => " ".repeat(indent.length / 4)),
  );
}
