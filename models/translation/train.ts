/** Trains the recurrent translator from English to Chinese: `wasmith train models/translation`. */

import type { Goal } from "wasmith";
import { chinese, english } from "../data/translations.js";
import { Translator } from "./model.js";
import { translating } from "./program.js";

export const fit = { epochs: 12 };
export const goal: Goal = {
  figure: "beamBleu",
  atLeast: 0.3,
  baseline: { name: "translation of the most similar sentence that is known", value: 0.2465 },
};
export { batches as dataset, measure, show } from "./program.js";
export default translating(new Translator({ source: english.size, target: chinese.size }), {
  rate: 3e-3,
  warmup: 100,
  ...fit,
});
