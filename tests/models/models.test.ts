/** The systems of models/ at reduced size: they learn, and their files load as the command line loads them. */

import { describe, expect, it } from "vitest";
import { compile } from "../../index.js";
import convnet, * as digits from "../../models/convnet/train.js";
import bicycles, * as hours from "../../models/lstm-regression/train.js";
import { lines, texts } from "../../models/text-rnn/data.js";
import { classifier } from "../../models/text-rnn/program.js";
import { load } from "../../runtime/index.js";

const variants = ["simd128"] as const;
const quiet = { progress: false, shuffle: false } as const;

describe("models/", () => {
  it("convnet tells digits apart after 2,000 of them", { timeout: 300_000 }, async () => {
    const session = await load(await compile(convnet, { variants }));
    const { batchSize } = digits.fit;
    await session.fit((await digits.dataset()).take(2000), { ...quiet, batchSize, epochs: 4 });
    const { metrics } = await session.evaluate((await digits.validation()).take(1000));
    expect(metrics.accuracy).toBeGreaterThan(0.85);
    session.dispose();
  });

  it("lstm-regression is better than the last hour after one epoch", { timeout: 300_000 }, async () => {
    const session = await load(await compile(bicycles, { variants }));
    await session.fit(await hours.dataset(), { ...quiet, batchSize: 32, epochs: 1 });
    const { metrics } = await session.evaluate((await hours.validation()).take(1000));
    expect(metrics.rmse! * hours.unit).toBeLessThan(129.4);
    session.dispose();
  });

  it("text-rnn, a small one, finds spam", { timeout: 300_000 }, async () => {
    const all = await lines(new URL("../../models/text-rnn/data/sms.tsv.gz", import.meta.url), ([label]) =>
      label === "spam" ? 1 : 0,
    );
    const { vocabulary, training, validation } = await texts(all.slice(0, 1500), 300, 16);
    const session = await load(await compile(classifier(vocabulary.size, { hidden: 48, embedding: 48 }), { variants }));
    await session.fit(training, { ...quiet, epochs: 12 });
    const { metrics } = await session.evaluate(validation);
    expect(metrics.accuracy).toBeGreaterThan(0.95);
    session.dispose();
  });
});
