/**
 * Modules as PyTorch exports them with dynamic axes: windows and their padding, positions, caches, anchors, resizes … whose sizes
 * are computed in the graph. Each is imported and compiled once, and gives PyTorch's outputs at every size.
 *
 * tests/fixtures/exports: one gzipped safetensors file each, with the model and `caseK.in.NAME`, `caseK.out.NAME`.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { graphSymbols } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { compareTensors, toTensor } from "./compare.js";
import { readSafetensors } from "./data.js";

const folder = fileURLToPath(new URL("../fixtures/exports/", import.meta.url));

/** Modules that count what the data hold, and so have sizes that only the run finds. All others' sizes follow from the inputs'. */
const COUNTS: ReadonlySet<string> = new Set(["masked_select", "nms_like", "sqrt_grid"]);

interface Recorded {
  readonly model: Uint8Array;
  readonly cases: readonly { readonly inputs: Record<string, Tensor>; readonly outputs: Record<string, Tensor> }[];
}

function recorded(file: string): Recorded {
  const scratch = mkdtempSync(join(tmpdir(), "wasmith-"));
  try {
    const path = join(scratch, "export.safetensors");
    writeFileSync(path, gunzipSync(readFileSync(join(folder, file))));
    const cases: { inputs: Record<string, Tensor>; outputs: Record<string, Tensor> }[] = [];
    let model = new Uint8Array();
    for (const [key, tensor] of readSafetensors(path).tensors) {
      if (key === "model") {
        model = tensor.data as Uint8Array<ArrayBuffer>;
        continue;
      }
      const [, k, side, name] = /^case(\d+)\.(in|out)\.(.+)$/.exec(key)!;
      cases[Number(k)] ??= { inputs: {}, outputs: {} };
      cases[Number(k)]![side === "in" ? "inputs" : "outputs"][name!] = toTensor(tensor);
    }
    return { model, cases };
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

const TOLERANCE = { rtol: 2e-4, atol: 2e-4 };

describe("exports of PyTorch at several sizes", () => {
  for (const file of readdirSync(folder).sort()) {
    const name = file.replace(".safetensors.gz", "");
    it(name, async () => {
      const { model, cases } = recorded(file);
      const graph = importOnnx(model);
      const found = [...graphSymbols(graph).values()].filter((s) => s.bound !== undefined);
      expect(found.length > 0).toBe(COUNTS.has(name.replace(/-\d+$/, "")));
      const session = await load(await compile(graph, { variants: ["simd128"] }), { threads: 1 });
      try {
        for (const { inputs, outputs } of cases) {
          const compiled = await session.run(inputs as Parameters<typeof session.run>[0]);
          const reference = evaluate(graph, inputs);
          for (const [output, want] of Object.entries(outputs)) {
            const i = graph.resultNames.indexOf(output);
            expect(compareTensors(reference[i]!, want, TOLERANCE), `${output} by the reference`).toBeUndefined();
            expect(compareTensors(compiled[output] as Tensor, want, TOLERANCE), output).toBeUndefined();
          }
        }
      } finally {
        session.dispose();
      }
    }, 60_000);
  }
});
