/** Trains the text classifier to find spam: `wasmith train models/text-rnn/sms-spam.ts`. */

import { lines, texts } from "./data.js";
import { classifier } from "./program.js";

const all = await lines(new URL("./data/sms.tsv.gz", import.meta.url), ([label]) => (label === "spam" ? 1 : 0));
export const { training: dataset, validation, vocabulary } = await texts(all, 1074, 32);
export const fit = { epochs: 8 };
export default classifier(vocabulary.size);
