import { expect, it } from "vitest";
import { loggedBy } from "./run-page.js";

it("MODELS.md shows code that runs", async () => {
  expect(await loggedBy("MODELS.md")).toEqual([
    ["first.weight", "first.bias", "blocks.0.body.0.weight"],
    ["logits"],
    expect.arrayContaining(["conv1.weight", "optimizer.mean.conv1.weight", "optimizer.step"]),
    ["stepD.optimizer.lr", "stepG.optimizer.lr"],
  ]);
});
