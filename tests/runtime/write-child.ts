/** Writes artefacts (serialised in the file of the first argument) in turn into the folder of the second, until killed or `count` times. */
import { readFileSync } from "node:fs";
import { deserialize } from "node:v8";
import { writeArtifact } from "../../compiler/write.js";
import type { ArtifactParts } from "../../runtime/format.js";

const [, , file, folder, count] = process.argv;
const artifacts = deserialize(readFileSync(file!)) as ArtifactParts[];
process.stdout.write("ready\n");
for (let i = 0; i < Number(count); i++) {
  try {
    await writeArtifact(artifacts[i % artifacts.length]!, folder!, {});
    process.stdout.write(`${i}\n`);
  } catch (error) {
    process.stdout.write(`${error}\n`);
    break;
  }
}
