/** The chart library of reports, as text: uPlot. The build puts the text itself here. */
import { importModule } from "./platform.js";

export async function chartLibrary(): Promise<{
  readonly script: string;
  readonly style: string;
  readonly license: string;
}> {
  const { createRequire } = await importModule<typeof import("node:module")>("node:module");
  const { readFile } = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
  const { resolve } = createRequire(import.meta.url);
  const read = (path: string): Promise<string> => readFile(resolve(`uplot/${path}`), "utf8");
  return {
    script: await read("dist/uPlot.iife.min.js"),
    style: await read("dist/uPlot.min.css"),
    license: await read("LICENSE"),
  };
}
