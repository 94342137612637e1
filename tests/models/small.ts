/** The systems of models/ with little data, and the texts' with few units. */
import type { Program } from "wasmith";
import convnet, * as digits from "../../models/convnet/train.js";
import bicycles, * as hours from "../../models/lstm-regression/train.js";
import { lines, texts } from "../../models/text-rnn/data.js";
import { classifier } from "../../models/text-rnn/program.js";

export const modelNames = ["convnet", "lstm-regression", "text-rnn"] as const;
export type ModelName = (typeof modelNames)[number];

export interface Small {
  readonly program: Program;
  readonly dataset: unknown;
  readonly options: { readonly epochs: number; readonly batchSize?: number };
}

export async function small(name: ModelName): Promise<Small> {
  switch (name) {
    case "convnet":
      return { program: convnet, dataset: (await digits.dataset()).take(200), options: { epochs: 4, batchSize: 32 } };
    case "lstm-regression":
      return { program: bicycles, dataset: (await hours.dataset()).take(160), options: { epochs: 4, batchSize: 32 } };
    case "text-rnn": {
      const all = await lines(new URL("../../models/text-rnn/data/sms.tsv.gz", import.meta.url), ([label]) =>
        label === "spam" ? 1 : 0,
      );
      const { vocabulary, training } = await texts(all.slice(0, 150), 30, 16);
      const program = classifier(vocabulary.size, 24, { hidden: 16, embedding: 16 });
      return { program, dataset: training, options: { epochs: 3 } };
    }
  }
}
