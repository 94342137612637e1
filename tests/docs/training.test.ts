/** The reference of optimisers, schedules, losses and metrics is that of their schemas, and none of them is without one. */

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { losses, metrics, optim, schedules } from "../../compiler/dsl/index.js";
import { trainingDefinitions, withTraining } from "../../scripts/generate-training-reference.js";
import { loggedBy } from "./run-page.js";

it("docs/TRAINING.md is up to date (npm run docs)", () => {
  const text = readFileSync(new URL("../../docs/TRAINING.md", import.meta.url), "utf8");
  expect(text === withTraining(text)).toBe(true);
});

it("every function has a definition under its name", () => {
  /** They take no options. */
  const plain = ["schedules.rateAt", "schedules.rateValue", "optim.gradientNorm"];
  const defined = new Set(trainingDefinitions().flatMap(([, all]) => all.map((d) => d.name)));
  const names = Object.entries({ losses, metrics, optim, schedules }).flatMap(([family, exported]) =>
    Object.keys(exported).map((name) => `${family}.${name}`),
  );
  expect(names.length).toBeGreaterThan(80);
  expect(names.filter((name) => !defined.has(name))).toEqual(expect.arrayContaining(plain));
  expect(names.filter((name) => !defined.has(name))).toHaveLength(plain.length);
});

it("TRAINING.md shows code that runs", async () => {
  expect(await loggedBy("TRAINING.md")).toEqual([
    ["accuracy", "f1"],
    [3, 3],
  ]);
});
