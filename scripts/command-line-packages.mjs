/** Small packages of the command line, in one file beside cli.js: who installs wasmith gets no package for each of them. */
import { build } from "esbuild";

const file = "cli-packages";

/** Lets what is bundled import them from that file. @type {import("esbuild").Plugin} */
export const fromCommandLinePackages = {
  name: "command-line-packages",
  setup(build) {
    build.onResolve({ filter: /^(commander|picocolors)$/ }, () => ({ path: `./${file}.js`, external: true }));
  },
};

/** @param {import("esbuild").BuildOptions} common */
export function buildCommandLinePackages(common, root) {
  return build({
    ...common,
    stdin: { contents: `export * from "commander";\nexport { default } from "picocolors";`, resolveDir: root },
    entryNames: file,
    platform: "node",
    // They are written for `require`, which modules do not have.
    banner: { js: `import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);` },
  });
}
