import { nn } from "wasmith";
import { Bert, base } from "../../../models/bert/model.js";
import type { Published } from "../published.js";

/** The tokens of a text of 128, and what the pooler makes of it. tests/models/bert.test.ts compares PyTorch's numbers. */
export default [
  {
    name: "BERT-base",
    build: () => nn.Select(new Bert(base), ({ pooled }) => pooled),
    parameters: 109_482_240,
    input: [128],
    dtype: "i64",
    output: [768],
  },
] satisfies readonly Published[];
