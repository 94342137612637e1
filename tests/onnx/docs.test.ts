/** The op tables in docs/ONNX.md are those of the code. `UPDATE=1` rewrites them. */
import { readFileSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { supportTables } from "../../compiler/onnx/support-table.js";

it("docs/ONNX.md lists what the tables have", () => {
  const path = "docs/ONNX.md";
  const text = readFileSync(path, "utf8");
  const [head, rest] = text.split(/(?<=<!-- generated [^>]*-->\n)/);
  const tail = rest!.slice(rest!.indexOf("<!-- end -->"));
  const updated = `${head}\n${supportTables()}\n\n${tail}`;
  if (process.env.UPDATE) writeFileSync(path, updated);
  else expect(text).toBe(updated);
});
