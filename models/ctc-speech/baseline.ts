/** What is told without a network, from the recordings to learn from: `npx tsx models/ctc-speech/baseline.ts`. */

import { bands, logMel, type Recording, recordings } from "../data/spoken.js";
import { digitError, type Utterance, unseen, utterances } from "./utterances.js";
import { type Costs, connected, width } from "./warping.js";

/** How loud a frame is counts half. */
const scale = Float64Array.from({ length: width }, (_, k) => Math.sqrt((k === 0 ? 0.25 : 2) / bands));
const waves = Array.from({ length: width }, (_, k) =>
  Float64Array.from({ length: bands }, (_, band) => scale[k]! * Math.cos((Math.PI * (band + 0.5) * k) / bands)),
);

/** The first cepstra of each frame, the cosine transform of its energies: what speech was compared by. */
function cepstra(samples: Float32Array): Float32Array {
  const x = logMel(samples);
  return Float32Array.from({ length: (x.length / bands) * width }, (_, i) => {
    const from = Math.floor(i / width) * bands;
    return waves[i % width]!.reduce((sum, wave, band) => sum + wave * x[from + band]!, 0);
  });
}

function error(rows: readonly Utterance[], known: readonly Recording[], costs: Costs): number {
  const templates = known.map(({ digit, samples }) => ({ digit, frames: cepstra(samples) }));
  const told = rows.map(({ samples }) => connected(cepstra(samples), templates, costs));
  return digitError(
    rows.map(({ digits }) => digits),
    told,
  );
}

const known = await recordings("train");
// The costs are chosen by what takes 4 to 7 tell of rows of takes 2 and 3.
const early = known.filter(({ take }) => take < 4);
const late = known.filter(({ take }) => take >= 4);
const rows = utterances(early, 40, 2);
const tried = [0.5, 1, 2]
  .map((pause) => ({ pause, penalty: 0 }))
  .concat({ pause: 1, penalty: 2 })
  .map((costs) => ({ costs, error: error(rows, late, costs) }));
for (const { costs, error } of tried) console.log(`${JSON.stringify(costs)}: ${error.toFixed(3)} of takes 2 and 3`);
const { costs } = tried.sort((a, b) => a.error - b.error)[0]!;
console.log(
  `${JSON.stringify(costs)}: ${error(await unseen(200), known, costs).toFixed(4)} of the 200 rows that count`,
);
