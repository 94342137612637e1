/** The data sets that stand beside the project (WASMITH_DATA/datasets) come in with the sizes and sums that their READMEs tell of. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  dataset,
  readCsv,
  readIdx,
  readLines,
  readSafetensors,
  readText,
  type Tensor,
  Vocabulary,
} from "../../runtime/data/index.js";
import { dataFolder } from "../nn/reference-data.js";

const folder = join(dataFolder, "datasets");
const at = (...path: string[]) => join(folder, ...path);
const isThere = existsSync(folder);
if (!isThere) console.warn("real data sets are not read: WASMITH_DATA/datasets is not there");

describe.skipIf(!isThere)("real data sets", () => {
  it("digits: rows of pixels and labels, split by class", async () => {
    const rows = (await readCsv(at("digits-8x8/digits.csv.gz"), { header: false })) as number[][];
    expect([rows.length, rows[0]!.length]).toEqual([1797, 65]);
    const d = dataset(rows).map((r) => ({ x: Float32Array.from(r.slice(0, 64), (v) => v / 16), y: r[64]! }));
    const { train, test } = d.split({ train: 0.8, test: 0.2 }, { seed: 1, stratify: "y" });
    expect([await train.length(), await test.length()]).toEqual([1438, 359]);
    const counts = new Map<number, number>();
    for await (const { y } of test) counts.set(y, (counts.get(y) ?? 0) + 1);
    expect(counts.size).toBe(10);
    for (const n of counts.values()) expect(Math.abs(n - 36)).toBeLessThanOrEqual(2);
  });

  it.each(["mnist-digits", "fashion-mnist-small"])("%s: images and labels of IDX files", async (name) => {
    const [images, labels] = [
      await readIdx(at(name, "train-images.idx3.gz")),
      await readIdx(at(name, "train-labels.idx1.gz")),
    ];
    expect([images.dtype, images.shape, labels.shape]).toEqual(["u8", [10_000, 28, 28], [10_000]]);
    const d = dataset({ x: images, y: labels });
    const { x, y } = await d.shuffle({ seed: 1 }).batch(64).at(3);
    expect([x, y]).toMatchObject([
      { dtype: "u8", shape: [64, 28, 28] },
      { dtype: "u8", shape: [64] },
    ]);
    expect(new Set(labels.data as Uint8Array).size).toBe(10);
  });

  it("sms-spam and sentences: text, words, padding", async () => {
    const sms = await readCsv(at("sms-spam/sms.tsv.gz"), {
      header: ["label", "text"],
      quote: false,
      types: { text: "string" },
    });
    expect(sms.length).toBe(5574);
    expect(sms.filter((r) => r.label === "spam").length).toBe(747);
    const vocabulary = Vocabulary.build(
      sms.map((r) => String(r.text)),
      { minCount: 2 },
    );
    expect(vocabulary.size).toBeGreaterThan(3000);
    const batches = dataset(sms)
      .map(({ label, text }) => ({ ids: vocabulary.encode(String(text)), y: Number(label === "spam") }))
      .filter(({ ids }) => ids.length > 0)
      .shuffle({ seed: 1 })
      .bucket({ by: "ids", bounds: [10, 20, 40], size: 64, pad: { ids: { value: 0, lengths: "lengths" } } });
    let [seen, cells, used] = [0, 0, 0];
    for await (const b of batches) {
      const [ids, lengths] = [b.ids as Tensor, b.lengths as Tensor<"i32">];
      seen += ids.shape[0]!;
      cells += ids.shape[0]! * ids.shape[1]!;
      used += lengths.data.reduce((x, y) => x + y, 0);
    }
    expect(seen).toBeGreaterThan(5550);
    expect(used / cells).toBeGreaterThan(0.6);
    const sentences = await readCsv(at("sentiment-sentences/sentences.tsv"), {
      quote: false,
      types: { text: "string" },
    });
    expect(sentences.length).toBe(3000);
    expect(sentences.reduce((n, r) => n + Number(r.label), 0)).toBe(1500);
  });

  it("bike sharing: numbers and dates", async () => {
    const rows = await readCsv(at("bike-sharing-hourly/hour.csv.gz"));
    expect(rows.length).toBe(17379);
    expect(rows[0]).toMatchObject({ instant: 1, dteday: "1/1/2011", temp: 0.24, cnt: 16 });
    expect(rows.reduce((n, r) => n + Number(r.cnt), 0)).toBe(3292679);
    const { train, test } = dataset(rows).split({ train: 14000, test: 3379 }, { seed: false });
    expect([(await train.at(13999)).instant, (await test.at(0)).instant]).toEqual([14000, 14001]);
  });

  it("the others: tables, lines, texts, recordings", async () => {
    expect((await readLines(at("names/names.txt"))).length).toBe(32033);
    expect((await readText(at("tiny-shakespeare/input.txt.gz"))).length).toBeGreaterThan(1.1e6);
    expect((await readCsv(at("beijing-pm25/pollution.csv.gz"))).length).toBe(43824);
    const recordings = await readSafetensors(at("spoken-digits/spoken-digits.safetensors.gz"));
    expect(Object.keys(recordings).length).toBeGreaterThan(0);
    for (const file of readdirSync(at("tabular")).filter((f) => /\.csv(\.gz)?$/.test(f))) {
      const path = at("tabular", file);
      const rows = await readCsv(path, { skip: 1, header: false, delimiter: await delimiterOf(path) });
      expect([file, rows.length > 100 && rows[0]!.length > 3]).toEqual([file, true]);
    }
    // Its first line counts the rows.
    await expect(readCsv(at("tabular/breast-cancer.csv"))).rejects.toThrow(/record 2 has 31 cells, expected 4/);
  });
});

async function delimiterOf(path: string): Promise<string> {
  const [first] = await readLines(path);
  return first!.split(";").length > first!.split(",").length ? ";" : ",";
}
