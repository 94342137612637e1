import { expect, it } from "vitest";
import { loggedBy } from "./run-page.js";

it("ONNX.md shows code that runs", { timeout: 60_000 }, async () => {
  expect(await loggedBy("ONNX.md")).toEqual([
    [{ input: "axes", what: "value", value: { dtype: "i64", shape: [1], data: [1] } }],
    [6, 15],
    true,
    ["logits"],
    true,
    ["logits"],
  ]);
});
