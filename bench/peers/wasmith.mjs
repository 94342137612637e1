/** wasmith's runtime on a compiled artefact. */
import { measure } from "./measure.mjs";

await measure(async (path, threads) => {
  const { load } = await import("../../dist/runtime.js");
  const session = await load(path, { threads });
  const names = session.inputs.map((i) => i.name);
  return (feeds) => session.run(Object.fromEntries(names.map((n) => [n, feeds[n]])));
});
