/** Writing a text token by token: loops in the graph, which end when the data say so. */

import { F, type Value } from "wasmith";

/** What tells the next token of texts. */
export interface Decoder {
  /** What it remembers before the first token: values whose first axis is the texts. */
  readonly start: readonly Value[];
  /** Reads the tokens [texts] at place t; logits [texts, tokens] of what comes next, and what it remembers from there on. */
  next(token: Value, t: Value, state: readonly Value[]): { readonly logits: Value; readonly state: readonly Value[] };
}

export interface Limits {
  /** How many tokens there are. */
  readonly kinds: number;
  /** Number of the token that a text begins with, and of the one that ends it. 0 stands behind the end. */
  readonly begin: number;
  readonly end: number;
  /** Tokens at most. */
  readonly most: number;
}

/** `text` [texts, most] with the tokens [texts] at place t. */
const written = (text: Value, t: Value, token: Value, most: number) =>
  F.where(F.arange(most).eq(t), token.unsqueeze(1), text);

/** Logarithms of probabilities [count], of which the first is certain. */
const onlyFirst = (count: number) => F.zeros([count]).maskedFill(F.arange(count).ne(0), Number.NEGATIVE_INFINITY);

/** The most probable token at each step, until all texts have ended: [texts, most]. */
export function greedy({ start, next }: Decoder, { begin, end, most }: Limits): Value {
  const texts = start[0]!.type.shape[0]!;
  const { text } = F.whileLoop(
    ({ t, ended }) => t.lt(most).logicalAnd(F.all(ended).logicalNot()),
    ({ t, token, state, ended, text }) => {
      const told = next(token, t, state);
      const best = F.where(ended, 0, F.argMax(told.logits, -1));
      return {
        t: t.add(1),
        token: best,
        state: told.state,
        ended: ended.logicalOr(best.eq(end)),
        text: written(text, t, best, most),
      };
    },
    {
      t: F.zeros([], "i64"),
      token: F.full([texts], begin, "i64"),
      state: start,
      ended: F.zeros([texts], "bool"),
      text: F.zeros([texts, most], "i64"),
    },
  );
  return text;
}

/**
 * Keeps the most probable beginnings of one text, as many as `start` has texts, until all of them have ended. Of these texts [texts, most]
 * the score is the logarithm of the probability, divided by the length to a power, since each token costs: Wu et al., "Google's Neural
 * Machine Translation System", 2016.
 */
export function beam({ start, next }: Decoder, { kinds, begin, end, most }: Limits, width: number) {
  const last = F.whileLoop(
    ({ t, ended }) => t.lt(most).logicalAnd(F.all(ended).logicalNot()),
    ({ t, token, state, ended, text, score }) => {
      const told = next(token, t, state);
      // What has ended goes on with 0, at no cost.
      const costs = F.where(ended.unsqueeze(1), onlyFirst(kinds), F.logSoftmax(told.logits));
      const [best, places] = F.topK(score.unsqueeze(1).add(costs).reshape(-1), width);
      const from = places.floorDivide(kinds);
      const chosen = places.remainder(kinds);
      return {
        t: t.add(1),
        token: chosen,
        state: told.state.map((s) => s.indexSelect(0, from)),
        ended: ended.indexSelect(0, from).logicalOr(chosen.eq(end)),
        text: written(text.indexSelect(0, from), t, chosen, most),
        score: best,
      };
    },
    {
      t: F.zeros([], "i64"),
      token: F.full([width], begin, "i64"),
      state: start,
      ended: F.zeros([width], "bool"),
      text: F.zeros([width, most], "i64"),
      // All begin alike: only one of them counts at first.
      score: onlyFirst(width),
    },
  );
  const length = last.text.ne(0).sum([1]).cast("f32");
  return { text: last.text, score: last.score.div(length.pow(0.7)) };
}
