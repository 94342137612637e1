/** Trains BERT on words that are left out, then on a few questions of known intent: `wasmith train models/bert`. */

import { F, type Goal, nn, optim, program, type SessionOf, schedules, type TrainRun, type Value } from "wasmith";
import { dataset, Vocabulary } from "wasmith/data";
import { contrastive } from "../clip/model.js";
import { type Question, questions } from "../data/intents.js";
import { argMax, floats, integers, numbers } from "../values.js";
import { Bert } from "./model.js";

const known = await questions("train");
const vocabulary = Vocabulary.build(
  known.map(({ text }) => text),
  { minCount: 3, special: ["[CLS]", "[MASK]"] },
);
const [mask, firstWord] = [3, 4];
/** Words of a question at most. */
const longest = 32;
const numbered = (text: string) => vocabulary.encode(text, { begin: "[CLS]" }).slice(0, longest);

/** Every fourth intent. Five questions of each are learnt from, as if no more were labelled. */
const intents = [...new Set(known.map(({ intent }) => intent))].filter((_, i) => i % 4 === 0);
const of = (all: readonly Question[], most: number) =>
  intents.flatMap((intent, y) =>
    all
      .filter((question) => question.intent === intent)
      .slice(0, most)
      .map(({ text }) => ({ tokens: numbered(text), y })),
  );
const labelled = of(known, 5);
const test = of(await questions("test"), 40);

const size = { vocabulary: vocabulary.size, features: 64, layers: 2, heads: 4, positions: longest };

/** Tells the words from the states: the inverse of the embedding, behind a layer of its own. */
class Words extends nn.Module<readonly [states: Value, embedding: Value]> {
  readonly transform = nn.sequential(nn.Linear(size.features, size.features), nn.GELU(), nn.LayerNorm(size.features));
  readonly bias = nn.parameter([size.vocabulary], nn.init.zeros);

  forward(ctx: nn.Context, states: Value, embedding: Value): Value {
    return F.linear(this.transform(ctx, states), embedding, ctx.value(this.bias));
  }
}

/** States of a text's tokens [batch, words, features], and their mean [batch, features]: what the text is about. */
function reading(ctx: nn.Context, bert: Bert, tokens: Value) {
  const mask = tokens.ne(0);
  const { states } = bert(ctx, tokens, { mask });
  const counts = mask.cast("f32").unsqueeze(-1);
  const summary = states
    .mul(counts)
    .sum([1])
    .div(counts.sum([1]));
  return { states, summary };
}

/** Tells the intent. What the summaries of all texts have in common is taken off by the norm. */
class Classifier extends nn.Module<readonly [tokens: Value]> {
  readonly bert: Bert;
  readonly head: nn.Layer;

  constructor(bert: Bert) {
    super();
    this.bert = bert;
    this.head = nn.sequential(nn.BatchNorm1d(size.features), nn.Dropout(0.1), nn.Linear(size.features, intents.length));
  }

  forward(ctx: nn.Context, tokens: Value): Value {
    return this.head(ctx, reading(ctx, this.bert, tokens).summary);
  }
}

/** Likeness of all summaries of one half with all of the other, [texts, texts]. */
class Twins extends nn.Module<readonly [summary: Value], Value> {
  readonly head = nn.sequential(nn.Linear(size.features, size.features), nn.Tanh());

  forward(ctx: nn.Context, summary: Value): Value {
    const [one, other] = F.chunk(F.normalize(this.head(ctx, summary)), 2) as [Value, Value];
    return one.matmul(other.transpose()).div(0.1);
  }
}

/** What tells words that are left out, and what tells all words of a text from its summary. */
const words = new Words();
const topics = new Words();
const twins = new Twins();
/** The network that reads all questions first, and the same without. */
const taught = new Classifier(new Bert(size));
const fresh = new Classifier(new Bert(size));
const embedding = (ctx: nn.Context) => ctx.value(taught.bert.embeddings.word_embeddings.weight);

/** So many words of each text are left out: of these 80 in 100 are hidden, 10 are others, and 10 are as they were. */
const leftOut = 3;

function leaveOut(ctx: nn.Context, tokens: Value) {
  const [, places] = F.topK(F.where(tokens.ge(firstWord), F.rand(ctx, tokens.type.shape), 0), leftOut);
  const missing = tokens.gather(1, places);
  const kind = F.rand(ctx, missing.type.shape);
  const others = F.randint(ctx, firstWord, size.vocabulary, missing.type.shape, "i32");
  const isWord = missing.ge(firstWord);
  const instead = F.where(kind.lt(0.8), mask, F.where(kind.lt(0.9), others, missing));
  return {
    read: tokens.scatter(1, places, F.where(isWord, instead, missing)),
    places,
    /** A text of fewer words has none at the other places. */
    missing: F.where(isWord, missing, -100),
  };
}

/** What a word tells of a text: the log of how few texts have it. */
const weights = F.constant(rarity(known.map(({ text }) => numbered(text))));

function rarity(texts: readonly Int32Array[]): Float32Array {
  const counts = new Float32Array(size.vocabulary);
  for (const tokens of texts) for (const token of new Set(tokens)) counts[token]! += 1;
  return counts.map((count, token) => (token < firstWord ? 0 : Math.log(texts.length / (1 + count))));
}

/** Loss of all words of the texts, told from summaries: a text is about its rare words. */
function topicLoss(logits: Value, tokens: Value): Value {
  const weight = F.embedding(tokens, weights.unsqueeze(-1)).squeeze(-1);
  const likelihood = F.logSoftmax(logits).gather(1, tokens.cast("i64"));
  return likelihood.mul(weight).sum().neg().div(weight.sum());
}

const text = { tokens: "i32[batch,words]" } as const;
const batchSize = 64;
/** Batches of an epoch: two in three of the questions, drawn anew. */
const batchesOfEpoch = 100;
export const fit = { epochs: 22 };
/** Rounds through the questions of known intent, in four batches each. */
const rounds = 75;
const adam = { pretrain: optim.AdamW(), taught: optim.AdamW(), fresh: optim.AdamW() };
const schedule = {
  pretrain: schedules.warmupCosine(2e-3, 150, fit.epochs * batchesOfEpoch),
  tune: schedules.warmupCosine(1e-3, 40, 4 * rounds),
};

const bert = program(
  { words, topics, twins, taught, fresh },
  {
    pretrain: {
      inputs: text,
      run(ctx, { tokens }) {
        // Each text twice, with other words left out.
        const [one, other] = [leaveOut(ctx, tokens), leaveOut(ctx, tokens)];
        const { states, summary } = reading(ctx, taught.bert, F.cat([one.read, other.read]));
        const places = F.cat([one.places, other.places]).unsqueeze(-1);
        const missing = F.cat([one.missing, other.missing]);
        const told = words(ctx, states.takeAlongDim(places, 1), embedding(ctx));
        const loss = {
          words: F.crossEntropy(told.transpose(), missing),
          topics: topicLoss(topics(ctx, summary, embedding(ctx)), F.cat([tokens, tokens])),
          twins: contrastive(twins(ctx, summary)),
        };
        const learnt = [words, topics, twins, taught.bert];
        ctx.minimize(loss.words.add(loss.topics).add(loss.twins), learnt, adam.pretrain, {
          schedule: schedule.pretrain,
          clip: optim.clipNorm(1),
        });
        return loss;
      },
    },
    tune: {
      inputs: { ...text, y: "i32[batch]" },
      run(ctx, { tokens, y }) {
        const step = (net: Classifier, optimizer: optim.Optimizer) =>
          ctx.minimize(F.crossEntropy(net(ctx, tokens), y), net, optimizer, {
            schedule: schedule.tune,
            clip: optim.clipNorm(1),
          });
        return { loss: step(taught, adam.taught), fresh: step(fresh, adam.fresh) };
      },
    },
    classify: {
      inputs: text,
      training: false,
      run: (ctx, { tokens }) => ({ taught: taught(ctx, tokens), fresh: fresh(ctx, tokens) }),
    },
    /** The most probable words at each place. */
    fill: {
      inputs: text,
      training: false,
      run: (ctx, { tokens }) => ({
        words: F.topK(words(ctx, reading(ctx, taught.bert, tokens).states, embedding(ctx)), 5)[1],
      }),
    },
  },
);
export default bert;
type Session = SessionOf<typeof bert>;

export const goal: Goal = {
  figure: "accuracy",
  atLeast: 0.73,
  baseline: { name: "logistic regression over tf-idf of words", value: 0.728 },
};

/** First of all questions, without their intents, for some epochs; then of the few that have one. */
export async function train(session: Session, { epochs, report }: TrainRun) {
  const texts = dataset(known.map(({ text }) => ({ tokens: numbered(text) })))
    .shuffle({ seed: 1 })
    .bucket({ by: "tokens", bounds: [9, 12, 15, 20], size: batchSize, pad: { tokens: 0 } })
    .take(batchesOfEpoch);
  for (let epoch = 0; epoch < epochs; epoch++) {
    const sum = { words: 0, topics: 0, twins: 0 };
    for await (const batch of texts.epoch(epoch)) {
      const loss = numbers(await session.run(batch, { entry: "pretrain" }));
      sum.words += loss.words! / batchesOfEpoch;
      sum.topics += loss.topics! / batchesOfEpoch;
      sum.twins += loss.twins! / batchesOfEpoch;
    }
    await report(sum);
  }
  const batches = dataset(labelled)
    .shuffle({ seed: 2 })
    .batch(25, { pad: { tokens: 0 }, dtypes: { y: "i32" } });
  // A short pre-training is followed by a short tuning.
  const toGo = Math.min(rounds, 8 * epochs);
  for (let round = 0; round < toGo; round++)
    for await (const batch of batches.epoch(round)) await session.run(batch, { entry: "tune" });
}

/** Shares of questions whose intent is found, with pre-training and without. */
export async function measure(session: Session) {
  let [right, rightFresh] = [0, 0];
  for await (const { tokens, y } of dataset(test).batch(100, { pad: { tokens: 0 }, dtypes: { y: "i32" } })) {
    const said = await session.run({ tokens }, { entry: "classify" });
    const count = (logits: Float32Array) =>
      argMax(logits, intents.length).filter((intent, i) => intent === Number(y.data[i])).length;
    right += count(floats(said.taught));
    rightFresh += count(floats(said.fresh));
  }
  return { accuracy: right / test.length, withoutPretraining: rightFresh / test.length };
}

/** Questions with a word left out, and what the model would put there. */
export async function show(session: Session) {
  const lines: string[] = [];
  for (let i = 0; i < test.length; i += Math.ceil(test.length / 12)) {
    const tokens = test[i]!.tokens.slice();
    const place = 1 + ((7 * i) % (tokens.length - 1));
    const missing = vocabulary.tokens[tokens[place]!];
    tokens[place] = mask;
    const told = integers(
      (await session.fill({ tokens: { dtype: "i32", shape: [1, tokens.length], data: tokens } })).words,
    );
    const best = vocabulary.decode(Array.from(told.subarray(5 * place, 5 * place + 5), Number));
    lines.push(`${vocabulary.decode(tokens.slice(1)).join(" ")}\n  model: ${best.join(", ")}; it was: ${missing}`);
  }
  return { "words.txt": `${lines.join("\n")}\n` };
}
