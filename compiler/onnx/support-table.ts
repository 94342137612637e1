/** The tables of docs/ONNX.md, from the op tables themselves. */
import { DOMAIN_TABLES } from "./ops/index.js";
import { NEWEST_OPSET, opsOf } from "./schema.js";

const cell = (text: string): string => text.replaceAll("|", "\\|");

function domainTable(domain: string): string {
  const rows = opsOf(domain).map(([op, versions]) => {
    const row = DOMAIN_TABLES[domain]?.[op];
    const state = row === undefined ? "no" : typeof row === "function" ? "yes" : cell(row.unsupported);
    return `| ${op} | ${versions.join(", ")} | ${state} |`;
  });
  return ["| op | versions | supported |", "| --- | --- | --- |", ...rows].join("\n");
}

/** Markdown: one table for each domain. */
export function supportTables(): string {
  const count = (domain: string) => {
    const ops = opsOf(domain);
    const done = ops.filter(([op]) => typeof DOMAIN_TABLES[domain]?.[op] === "function").length;
    return `${done} of ${ops.length} ops`;
  };
  const contrib = Object.keys(DOMAIN_TABLES["com.microsoft"] ?? {}).sort();
  return [
    `### ai.onnx, opsets 1 to ${NEWEST_OPSET}: ${count("")}`,
    domainTable(""),
    `### ai.onnx.preview: ${count("ai.onnx.preview")}`,
    domainTable("ai.onnx.preview"),
    `### ai.onnx.preview.training: ${count("ai.onnx.preview.training")}`,
    domainTable("ai.onnx.preview.training"),
    `### ai.onnx.ml: ${count("ai.onnx.ml")}`,
    domainTable("ai.onnx.ml"),
    `### com.microsoft`,
    contrib.map((op) => `\`${op}\``).join(", "),
  ].join("\n\n");
}
