/**
 * Golden files of the loop passes: `// RUN: pass pass…`, a module, `// CHECK`, and the module that the passes make of it, with
 * their notes before it. `UPDATE_GOLDEN=1` rewrites what follows `// CHECK`.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { inlinableMath } from "../../compiler/wasm/math.js";
import { parseLoopModule } from "../../ir/loop-parse.js";
import { printLoopModule } from "../../ir/loop-print.js";
import { verifyLoop } from "../../ir/loop-verify.js";
import { loopPassesWith } from "../../passes/loop/pipeline.js";

const passes = loopPassesWith(inlinableMath);
const folder = fileURLToPath(new URL("../golden/loop/", import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith(".loop"));

it.each(files)("%s", (file) => {
  const text = readFileSync(folder + file, "utf8");
  const [head, expected = ""] = text.split("// CHECK\n") as [string, string?];
  const names = /^\/\/ RUN: (.*)$/m.exec(head)?.[1]?.split(" ");
  if (names === undefined) throw new Error(`${file} has no // RUN: line`);
  const input = parseLoopModule(head, file);
  verifyLoop(input);
  const notes: string[] = [];
  let functions = input.functions;
  for (const name of names) {
    const pass = passes.find((p) => p.name === name);
    if (pass === undefined) throw new Error(`${file}: no pass ${name}`);
    functions = functions.map((f) => pass.run(f, (note) => notes.push(`// NOTE: ${note}\n`)));
    verifyLoop({ functions }, name);
  }
  const got = notes.join("") + printLoopModule({ functions });
  if (process.env.UPDATE_GOLDEN) writeFileSync(folder + file, `${head}// CHECK\n${got}`);
  else expect(got).toBe(expected);
  expect(printLoopModule(parseLoopModule(got, file))).toBe(printLoopModule({ functions }));
});
