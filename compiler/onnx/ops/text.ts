/** Text as numbers: counts of n-grams. Ops on strings themselves are not supported. */
import { asType, clamp, dimScalar, expandDims, np, rankOf, reshapeTo, sum, where } from "../../../ir/build.js";
import type { Dim } from "../../../ir/dim.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { iota } from "../../../ir/ops/constant.js";
import { gather } from "../../../ir/ops/indexing.js";
import { tensorFrom } from "../../../ir/tensor.js";
import { host, vector } from "../build.js";
import type { ImportOp, NodeContext, OpRow } from "../context.js";
import { matmul } from "./products.js";

/** N-grams by results: the matrix that puts the counts in their places. */
const MAX_CELLS = 2 ** 24;

interface Grams {
  /** Terms in each of them. */
  readonly length: number;
  /** Their terms one after the other. */
  readonly terms: readonly bigint[];
  /** Of each, the element of the result that counts it. */
  readonly outputs: readonly number[];
}

function readGrams(c: NodeContext): readonly Grams[] {
  const pool = c.attrs.bigints("pool_int64s", undefined);
  if (!pool) throw c.error("a pool of strings is not supported", "give the op numbers of words (pool_int64s)");
  const starts = c.attrs.requiredInts("ngram_counts");
  const outputs = c.attrs.requiredInts("ngram_indexes");
  let used = 0;
  return starts.map((start, i) => {
    const terms = pool.slice(start, starts[i + 1] ?? pool.length);
    const count = terms.length / (i + 1);
    const own = outputs.slice(used, used + count);
    if (!Number.isInteger(count) || own.length !== count)
      throw c.error(`its pool does not divide into the ${i + 1}-grams that ngram_counts and ngram_indexes say`);
    used += count;
    return { length: i + 1, terms, outputs: own };
  });
}

/** How often each of the grams stands in each row of x [rows, columns], with `gap` columns from term to term: f32[rows, grams]. */
function countsOf(x: Value, { length, terms, outputs }: Grams, gap: number): Value {
  const [, columns] = x.type.shape as [Dim, Dim];
  const last = np.sub(dimScalar(columns, "i64"), 1);
  const position = iota([], { dtype: "i64", shape: [columns], axis: 0 });
  let found: Value | undefined;
  for (let k = 0; k < length; k++) {
    const at = np.add(position, k * gap);
    const term = gather([x, clamp(at, 0, last)], { axis: 1 });
    const wanted = vector(
      "i64",
      outputs.map((_, g) => terms[g * length + k]!),
    );
    const equal = np.eq(expandDims(term, -1), reshapeTo(wanted, [1, 1, outputs.length]));
    const inside = np.and(equal, reshapeTo(np.le(at, last), [1, columns, 1]));
    found = found ? np.and(found, inside) : inside;
  }
  return sum(asType(found!, "f32"), 1);
}

const tfIdf: ImportOp = (c) => {
  const given = c.input(0);
  if (rankOf(given) !== 1 && rankOf(given) !== 2)
    throw c.error(`the input should have one or two axes, but is ${typeText(given.type)}`);
  const flat = rankOf(given) === 1;
  const x = asType(flat ? expandDims(given, 0) : given, "i64");
  const [least, most] = [c.attrs.requiredInt("min_gram_length"), c.attrs.requiredInt("max_gram_length")];
  const skips = c.attrs.requiredInt("max_skip_count");
  const grams = readGrams(c);
  const width = Math.max(...grams.flatMap((g) => g.outputs)) + 1;
  const cells = Math.max(...grams.map((g) => g.outputs.length)) * width;
  if (!(width >= 1 && cells <= MAX_CELLS))
    throw c.error(`ngram_indexes make ${width} results of ${grams.flatMap((g) => g.outputs).length} n-grams`);
  let counts = np.mul(sum(asType(x, "f32"), 1, { keepDims: true }), 0);
  for (const g of grams.filter(({ length, outputs }) => length >= least && length <= most && outputs.length > 0)) {
    const place = new Array<number>(g.outputs.length * width).fill(0);
    g.outputs.forEach((output, i) => {
      place[i * width + output] = 1;
    });
    const placed = host(tensorFrom("f32", [g.outputs.length, width], place));
    // A single term has no gaps to skip.
    for (let gap = 1; gap <= (g.length === 1 ? 1 : skips + 1); gap++)
      counts = np.add(counts, matmul(countsOf(x, g, gap), placed));
  }
  const weights = c.attrs.floats("weights", undefined);
  const weight = vector("f32", weights ?? Array<number>(width).fill(1));
  if (weight.type.shape[0] !== width) throw c.error(`there are ${weights?.length} weights for ${width} results`);
  const mode = c.attrs.oneOf("mode", ["TF", "IDF", "TFIDF"], "TF");
  const y = mode === "TF" ? counts : mode === "TFIDF" ? np.mul(counts, weight) : where(np.gt(counts, 0), weight, 0);
  return flat ? reshapeTo(y, [width]) : y;
};

export const text = { TfIdfVectorizer: tfIdf } as const satisfies Readonly<Record<string, OpRow>>;
