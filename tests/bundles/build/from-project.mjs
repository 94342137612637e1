import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** `build.mjs ENTRY [plugin]`, in the folder of the project. */
export const [, , entry = "main.js", withPlugin] = process.argv;

/** wasmith/plugin as the project has it, where it is asked for. */
export const plugin = withPlugin
  ? await import(pathToFileURL(createRequire(join(process.cwd(), "main.js")).resolve("wasmith/plugin")).href)
  : undefined;
