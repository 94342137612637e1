/** Metrics over batches of unequal sizes, compiled, against formulas of the whole data. */

import { describe, expect, it } from "vitest";
import { definitionOf } from "../../compiler/schema.js";
import { compile, losses, ModelError, metrics, nn, optim, param, trainStep } from "../../index.js";
import { load, type Tensor, type TrainingSession } from "../../runtime/index.js";
import { type Data, expectMetric, generator, near, product, samples, stream, tensorOf } from "./metric-stream.js";

// ------------------------------------------------------------------------------------------------------- data

const C = 4;

/** Scores of classes and labels, of which some are ignored; the scores of class 2 are low, so that it is never predicted. */
function classData(inner: readonly number[] = [], ignored = -100, seed = 1): Data {
  const next = generator(seed);
  const each = product(inner);
  const output = Array.from({ length: samples * C * each }, (_, i) => {
    const c = Math.floor(i / each) % C;
    return Math.fround(next() * 4 - 2 - (c === 2 ? 10 : 0));
  });
  const target = Array.from({ length: samples * each }, (_, i) => (i % 7 === 3 ? ignored : Math.floor(next() * 3)));
  return { shape: [C, ...inner], output, targetShape: inner, target, targetType: "i64" };
}

interface Row {
  readonly scores: readonly number[];
  readonly label: number;
}

/** One row for each label, ignored ones left out. */
function rowsOf(d: Data, ignored = -100): readonly Row[] {
  const each = product(d.targetShape);
  return d.target.flatMap((label, i) => {
    if (label === ignored) return [];
    const [n, at] = [Math.floor(i / each), i % each];
    return [{ label, scores: Array.from({ length: C }, (_, c) => d.output[(n * C + c) * each + at]!) }];
  });
}

const best = ({ scores }: Row) => scores.indexOf(Math.max(...scores));
const share = (rows: readonly Row[], test: (r: Row) => boolean) => rows.filter(test).length / rows.length;
const divide = (a: number, b: number) => (b === 0 ? 0 : a / b);
const average = (list: readonly number[]) => list.reduce((a, b) => a + b, 0) / list.length;

/** Right ones, predicted and actual ones of each class. */
const countsOf = (rows: readonly Row[]) =>
  Array.from({ length: C }, (_, c) => ({
    right: rows.filter((r) => r.label === c && best(r) === c).length,
    predicted: rows.filter((r) => best(r) === c).length,
    actual: rows.filter((r) => r.label === c).length,
  }));

/** Logits and targets of 0 and 1. */
function binaryData(columns: readonly number[] = [], seed = 2): Data {
  const next = generator(seed);
  const n = samples * product(columns);
  const output = Array.from({ length: n }, () => Math.fround(next() * 6 - 3));
  const target = output.map((x) => (next() * 6 - 3 < x ? 1 : 0));
  return { shape: columns, output, targetShape: columns, target, targetType: "f32" };
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

// ----------------------------------------------------------------------------------------------------- classes

describe("metrics of classes", () => {
  it.each([
    ["one label a sample", classData(), -100],
    ["labels of pixels", classData([3, 2]), -100],
    ["another label that is ignored", classData([], 3), 3],
  ] as const)("%s", async (_, data, ignored) => {
    const rows = rowsOf(data, ignored);
    const o = { ignoreIndex: ignored };
    await expectMetric(
      metrics.accuracy(o),
      data,
      share(rows, (r) => best(r) === r.label),
    );
    const rank = (r: Row) => r.scores.filter((s) => s > r.scores[r.label]!).length;
    await expectMetric(
      metrics.topK({ k: 2, ...o }),
      data,
      share(rows, (r) => rank(r) < 2),
    );
    const entropy = (r: Row) => Math.log(r.scores.map(Math.exp).reduce((a, b) => a + b)) - r.scores[r.label]!;
    await expectMetric(metrics.perplexity(o), data, Math.exp(average(rows.map(entropy))));
    const matrix = Array.from(
      { length: C * C },
      (_, i) => rows.filter((r) => r.label === Math.floor(i / C) && best(r) === i % C).length,
    );
    await expectMetric(metrics.confusionMatrix({ classes: C, ...o }), data, matrix);
    const counts = countsOf(rows);
    const ious = counts.map((c) => divide(c.right, c.predicted + c.actual - c.right));
    await expectMetric(metrics.iou({ classes: C, average: "none", ...o }), data, ious);
    await expectMetric(
      metrics.iou({ classes: C, ...o }),
      data,
      average(ious.filter((_, c) => counts[c]!.predicted + counts[c]!.actual > 0)),
    );
  });

  const data = classData([2]);
  const counts = countsOf(rowsOf(data));
  type Counts = (typeof counts)[number];
  const scores: Readonly<Record<string, (c: Counts) => number>> = {
    precision: (c) => divide(c.right, c.predicted),
    recall: (c) => divide(c.right, c.actual),
    f1: (c) => divide(2 * c.right, c.predicted + c.actual),
    fBeta: (c) => divide(5 * c.right, c.predicted + 4 * c.actual),
  };
  it.each(Object.entries(scores))("%s of classes", async (name, of) => {
    const make = (metrics as unknown as Record<string, (o: object) => metrics.Metric>)[name]!;
    const o = { classes: C, ...(name === "fBeta" ? { beta: 2 } : {}) };
    const each = counts.map(of);
    await expectMetric(make({ ...o, average: "none" }), data, each);
    await expectMetric(make({ ...o, average: "macro" }), data, average(each));
    const labels = counts.reduce((n, c) => n + c.actual, 0);
    const weighted = each.reduce((a, v, c) => a + (v * counts[c]!.actual) / labels, 0);
    await expectMetric(make({ ...o, average: "weighted" }), data, weighted);
    const all = counts.reduce((a, b) => ({
      right: a.right + b.right,
      predicted: a.predicted + b.predicted,
      actual: a.actual + b.actual,
    }));
    await expectMetric(make({ ...o, average: "micro" }), data, of(all));
  });

  it.each(Object.entries(scores))("%s of elements of 0 and 1", async (name, of) => {
    const make = (metrics as unknown as Record<string, (o: object) => metrics.Metric>)[name]!;
    const beta = name === "fBeta" ? { beta: 2 } : {};
    const d = binaryData([3]);
    const countsAbove = (logit: number, column?: number): Counts => {
      const pairs = d.output
        .map((x, i) => [x > logit, d.target[i] === 1, i % 3] as const)
        .filter((p) => column === undefined || p[2] === column);
      return {
        right: pairs.filter(([p, t]) => p && t).length,
        predicted: pairs.filter(([p]) => p).length,
        actual: pairs.filter(([, t]) => t).length,
      };
    };
    await expectMetric(make(beta), d, of(countsAbove(0)));
    await expectMetric(make({ ...beta, threshold: 0.8 }), d, of(countsAbove(Math.log(4))));
    const probabilities = { ...d, output: d.output.map((x) => Math.fround(sigmoid(x))) };
    await expectMetric(make({ ...beta, fromLogits: false }), probabilities, of(countsAbove(0)));
    await expectMetric(
      make({ ...beta, average: "macro", classes: 3 }),
      d,
      average([0, 1, 2].map((c) => of(countsAbove(0, c)))),
    );
  });

  it("binaryAccuracy", async () => {
    const d = binaryData([2]);
    const right = d.output.filter((x, i) => x > 0 === (d.target[i] === 1)).length;
    await expectMetric(metrics.binaryAccuracy(), d, right / d.output.length);
    const whole = { ...d, target: d.target.map(Number), targetType: "i32" as const };
    await expectMetric(metrics.binaryAccuracy(), whole, right / d.output.length);
  });
});

// ------------------------------------------------------------------------------------------------------ curves

/** Share of pairs of a positive and a negative that stand the right way round. */
function pairShare(scores: readonly number[], target: readonly number[]): number {
  const of = (t: number) => scores.filter((_, i) => target[i] === t);
  const wins = of(1).flatMap((p) => of(0).map((n): number => (p > n ? 1 : p === n ? 0.5 : 0)));
  return average(wins);
}

/** Σ precision · gain of recall at each score, from the highest down. */
function precisionSum(scores: readonly number[], target: readonly number[]): number {
  const order = scores.map((s, i) => [s, target[i]!] as const).sort((a, b) => b[0] - a[0]);
  const positives = target.filter((t) => t === 1).length;
  let found = 0;
  let area = 0;
  order.forEach(([, t], i) => {
    if (t !== 1) return;
    found++;
    area += found / (i + 1) / positives;
  });
  return area;
}

describe("metrics of curves", () => {
  // 2,000 bins tell all of these scores apart.
  it("auc and averagePrecision are exact where bins tell all scores apart", async () => {
    const d = binaryData();
    await expectMetric(metrics.auc({ bins: 2000 }), d, pairShare(d.output, d.target));
    await expectMetric(metrics.averagePrecision({ bins: 2000 }), d, precisionSum(d.output, d.target));
    const probabilities = { ...d, output: d.output.map((x) => Math.fround(sigmoid(x))) };
    await expectMetric(metrics.auc({ bins: 2000, fromLogits: false }), probabilities, pairShare(d.output, d.target));
  });

  it("scores in one bin count as equal", async () => {
    const d = binaryData([4]);
    const binned = d.output.map((x) => -Math.floor((1 - sigmoid(x)) * 10));
    await expectMetric(metrics.auc({ bins: 10 }), d, pairShare(binned, d.target));
  });

  it("meanAveragePrecision leaves out classes that are not there", async () => {
    const d = binaryData([3]);
    const target = d.target.map((t, i) => (i % 3 === 1 ? 0 : t));
    const column = (list: readonly number[], c: number) => list.filter((_, i) => i % 3 === c);
    const each = [0, 2].map((c) => precisionSum(column(d.output, c), column(target, c)));
    await expectMetric(metrics.meanAveragePrecision({ classes: 3, bins: 2000 }), { ...d, target }, average(each));
  });
});

// -------------------------------------------------------------------------------------------------- regression

describe("metrics of numbers", () => {
  const next = generator(7);
  const numbers = (n: number, offset: number) => Array.from({ length: n }, () => Math.fround(next() * 2 + offset));
  const d: Data = {
    shape: [3],
    output: numbers(samples * 3, 100),
    targetShape: [3],
    target: numbers(samples * 3, 100),
    targetType: "f32",
  };
  const differences = d.output.map((x, i) => x - d.target[i]!);
  const squares = (list: readonly number[]) => list.map((v) => v * v);

  it("mean absolute, mean squared and root mean squared error", async () => {
    await expectMetric(metrics.meanAbsoluteError(), d, average(differences.map(Math.abs)));
    await expectMetric(metrics.meanSquaredError(), d, average(squares(differences)));
    await expectMetric(metrics.rootMeanSquaredError(), d, Math.sqrt(average(squares(differences))));
  });

  it("r2 of all elements and of columns", async () => {
    const r2 = (residuals: readonly number[], target: readonly number[]) => {
      const centre = average(target);
      return 1 - average(squares(residuals)) / average(squares(target.map((t) => t - centre)));
    };
    const column = (list: readonly number[], c: number) => list.filter((_, i) => i % 3 === c);
    await expectMetric(metrics.r2(), d, r2(differences, d.target));
    const each = [0, 1, 2].map((c) => r2(column(differences, c), column(d.target, c)));
    await expectMetric(metrics.r2({ columns: 3 }), d, average(each));
  });
});

// -------------------------------------------------------------------------------------------------- in training

describe("metrics in a training step", () => {
  const inputs = { x: ["batch", 4] } as const;
  const targets = { y: { dtype: "i64", shape: ["batch"] } } as const;
  const next = generator(3);
  const x = tensorOf(
    "f32",
    [11, 4],
    Array.from({ length: 44 }, () => next() - 0.5),
  );
  const y = tensorOf(
    "i64",
    [11],
    Array.from({ length: 11 }, (_, i) => (i * 5) % 3),
  );

  it("are those of the whole data, whatever the batches", async () => {
    const program = trainStep(nn.sequential(nn.Linear(4, 3)), {
      inputs,
      targets,
      loss: losses.crossEntropy(),
      optimizer: optim.SGD({ lr: 0 }),
      metrics: {
        f1: metrics.f1({ classes: 3, average: "macro" }),
        perplexity: metrics.perplexity(),
        confusion: metrics.confusionMatrix({ classes: 3 }),
        norm: metrics.gradientNorm(),
      },
    });
    const session = (await load(await compile(program))) as unknown as TrainingSession & {
      measure(feeds: object): Promise<Readonly<Record<string, unknown>>>;
    };
    const whole = await session.evaluate({ x, y } as never);
    expect(Object.keys(whole.metrics).sort()).toEqual(["f1", "perplexity"]);
    expect(whole.metrics.perplexity).toBeCloseTo(Math.exp(whole.loss), 5);
    const { confusion } = (await session.measure({})) as { confusion: Tensor };
    expect((confusion.data as Float32Array).reduce((a, b) => a + b)).toBe(11);
    for (const batchSize of [1, 4, 10]) {
      const parts = await session.evaluate({ x, y } as never, { batchSize });
      near(Object.values(parts.metrics), Object.values(whole.metrics));
      const [epoch] = await session.fit({ x, y } as never, { batchSize });
      near([epoch!.metrics.f1!, epoch!.metrics.perplexity!], [whole.metrics.f1!, whole.metrics.perplexity!]);
      expect((await session.measure({})).confusion).toEqual(confusion);
      expect(epoch!.metrics.norm).toBeGreaterThan(0);
    }
    session.dispose();
  });

  it("of gradients are their norm before they are clipped", async () => {
    const program = trainStep(nn.sequential(nn.Linear(4, 3)), {
      inputs,
      targets,
      loss: losses.crossEntropy(),
      optimizer: optim.SGD({ lr: 1 }),
      clip: optim.clipNorm(0.01),
      metrics: { norm: metrics.gradientNorm(), largest: metrics.gradientNorm({ p: Number.POSITIVE_INFINITY }) },
    });
    const plain = trainStep(nn.sequential(nn.Linear(4, 3)), {
      inputs,
      targets,
      loss: losses.crossEntropy(),
      optimizer: optim.SGD({ lr: 1 }),
    });
    const [session, unclipped] = (await Promise.all([program, plain].map(async (p) => load(await compile(p))))) as [
      unknown,
      unknown,
    ] as [TrainingSession, TrainingSession];
    for (const name of ["0.weight", "0.bias"]) unclipped.setState(name, session.getState(name));
    const weights = () => ["0.weight", "0.bias"].flatMap((n) => [...(unclipped.getState(n).data as Float32Array)]);
    const before = weights();
    const { metrics: measured } = await session.step({ x, y } as never);
    await unclipped.step({ x, y } as never);
    // With a rate of 1 the gradient is what the step took off.
    const gradient = weights().map((w, i) => before[i]! - w);
    expect(measured.norm).toBeCloseTo(Math.hypot(...gradient), 5);
    expect(measured.largest).toBeCloseTo(Math.max(...gradient.map(Math.abs)), 5);
    session.dispose();
    unclipped.dispose();
  });

  it("that are none are refused", () => {
    const options = { inputs, targets, loss: losses.crossEntropy(), optimizer: optim.SGD() } as const;
    const wrong = { ...options, metrics: { m: { slots: {} } as never } };
    expect(() => trainStep(nn.sequential(nn.Linear(4, 3)), wrong)).toThrow(/neither a function/);
    const lacking = { slots: { a: [] }, update: () => ({}), result: (s: metrics.Sums) => s.a! };
    expect(() => trainStep(nn.sequential(nn.Linear(4, 3)), { ...options, metrics: { m: lacking } })).toThrow(/slot a/);
  });
});

// --------------------------------------------------------------------------------------------------- refusals

describe("what metrics refuse", () => {
  const factories = metrics as unknown as Readonly<Record<string, (o?: object) => metrics.Metric>>;
  const problem = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      if (error instanceof ModelError) return error.message;
      throw error;
    }
    return "";
  };

  it.each(Object.keys(metrics))("%s: options that its schema does not have", (name) => {
    const make = factories[name]!;
    expect(problem(() => make({ clases: 3 }))).toContain(`metrics.${name} has no such option`);
    for (const [option, { fits }] of Object.entries(definitionOf(make)!.options!))
      for (const value of ["no", {}, Number.NaN, -0.5].filter((v) => !fits(v)))
        expect(problem(() => make({ [option]: value }))).toContain(option);
  });

  it("what needs the number of classes and other shapes", () => {
    expect(problem(() => metrics.confusionMatrix())).toContain("need their number");
    expect(problem(() => metrics.f1({ average: "macro" }))).toContain("need their number");
    const x = param("x", { dtype: "f32", shape: [2, 3] });
    const t = param("t", { dtype: "i64", shape: [2, 3] });
    expect(problem(() => metrics.accuracy()(x, t))).toContain("do not fit");
  });

  it("labels that are no class end the run", async () => {
    const d = classData();
    const wrong = { ...d, target: d.target.map((t, i) => (i === 6 ? C : t)) };
    await expect(stream(metrics.confusionMatrix({ classes: C }), wrong)).rejects.toThrow(/outside/);
    const negative = { ...d, target: d.target.map((t, i) => (i === 6 ? -1 : t)) };
    await expect(stream(metrics.f1({ classes: C, average: "macro" }), negative)).rejects.toThrow(/outside/);
  });
});
