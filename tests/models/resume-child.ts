/**
 * Trains one of the systems of models/ at reduced size: `resume-child MODEL ARTEFACT CHECKPOINT`. Saves after each batch and says so; goes on
 * from the checkpoint where it is there.
 */
import { existsSync, readFileSync } from "node:fs";
import { deserialize } from "node:v8";
import { type ArtifactParts, load, type TrainingSession } from "wasmith/runtime";
import { type ModelName, small } from "./small.js";

const [, , name, artifact, checkpoint] = process.argv as [string, string, ModelName, string, string];
const session = await load<TrainingSession>(deserialize(readFileSync(artifact)) as ArtifactParts);
const known = existsSync(checkpoint);
if (known) await session.restore(checkpoint);
// Killed when it was through: the checkpoint stands nowhere in a run.
if (known && !readFileSync(checkpoint).includes('"position"')) process.exit(0);
const { dataset, options } = await small(name);
await session.fit(dataset as never, {
  ...options,
  progress: false,
  callbacks: {
    async onBatch() {
      await session.save(checkpoint);
      process.stdout.write("saved\n");
    },
  },
});
await session.save(checkpoint);
session.dispose();
