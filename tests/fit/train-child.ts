/** Trains the artefact of the first argument, with a checkpoint at the second one after each batch; goes on from it where it is there. */
import { existsSync, readFileSync } from "node:fs";
import { deserialize } from "node:v8";
import { dataset } from "../../runtime/data/index.js";
import type { ArtifactParts } from "../../runtime/format.js";
import { load, type TrainingSession } from "../../runtime/index.js";

const [, , artifact, checkpoint] = process.argv;
const session = await load<TrainingSession>(deserialize(readFileSync(artifact!)) as ArtifactParts);
if (existsSync(checkpoint!)) await session.restore(checkpoint!);
// Killed when it was through: the checkpoint stands nowhere in a run.
if (existsSync(checkpoint!) && !readFileSync(checkpoint!).includes("position")) process.exit(0);
const x = Float32Array.from({ length: 240 }, (_, i) => 1.5 + Math.sin(i * 1.7));
const y = Float32Array.from({ length: 60 }, (_, i) => x[4 * i]! - x[4 * i + 1]!);
const data = dataset({ x: { dtype: "f32", shape: [60, 4], data: x }, y })
  .shuffle({ seed: 3 })
  .batch(7);
await session.fit(data, {
  epochs: 45,
  progress: false,
  callbacks: {
    async onBatch() {
      await session.save(checkpoint!);
      process.stdout.write("saved\n");
    },
  },
});
await session.save(checkpoint!);
session.dispose();
