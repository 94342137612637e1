/** wasmith's runtime on a compiled artefact. */
import { measure } from "./measure.mjs";
import { runOf } from "./session.mjs";

await measure(async (path, threads) => {
  const { load } = await import("../../dist/runtime.js");
  return runOf(await load(path, { threads }));
});
