/** Trains the Transformer to translate from English to Chinese: `wasmith train models/transformer-translation`. */

import type { Goal } from "wasmith";
import { chinese, english, limits } from "../data/translations.js";
import { translating } from "../translation/program.js";
import { TransformerTranslator } from "./model.js";

export const fit = { epochs: 24 };
export const goal: Goal = {
  figure: "beamBleu",
  atLeast: 0.3,
  baseline: { name: "translation of the most similar sentence that is known", value: 0.2465 },
};
export { batches as dataset, measure, show } from "../translation/program.js";
export default translating(
  new TransformerTranslator({ source: english.size, target: chinese.size, most: limits.most }),
  { rate: 2e-3, warmup: 200, ...fit },
);
