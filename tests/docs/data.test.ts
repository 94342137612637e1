import { expect, it } from "vitest";
import { loggedBy } from "./run-page.js";

it("DATA.md shows code that runs", async () => {
  const batch = ["f32", [2, 1, 4, 4], "i32", [2]];
  expect(await loggedBy("DATA.md")).toEqual([
    batch,
    batch,
    true,
    { x: [1, 4, 1], y: 5 },
    3,
    [5, 6, 7, 8, 0, 0],
    [1, 1, 1, 1, 0, 0],
    [
      [2, 2],
      [2, 6],
    ],
    [1, 4, 4],
    [4, 2],
    "u8",
    "<pad> <unk> <s> the . cat dog sat",
    [2, 3, 1, 7, 0, 0],
    ["<s>", "the", "<unk>", "sat"],
    8,
    [1, 2, 0],
    { id: 2, name: "Bo", height: Number.NaN },
    "CSV file: record 2 has 1 cells, expected 2",
    "i32",
    [1, 9, 13],
    5,
    [2, 3, 9, 13],
  ]);
});
