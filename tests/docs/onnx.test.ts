import { expect, it } from "vitest";
import { loggedBy } from "./run-page.js";

it("ONNX.md shows code that runs", { timeout: 60_000 }, async () => {
  expect(await loggedBy("ONNX.md")).toEqual([["logits"], true, ["logits"]]);
});
