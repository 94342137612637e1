/** Text: tokens by rules, vocabularies, tokenizers of trained models. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dataset, loadTokenizer, readText, type Tensor, tokenizer, Vocabulary } from "../../runtime/data/index.js";

describe("tokenizer", () => {
  it("cuts words, marks, white space and characters", () => {
    const words = tokenizer();
    expect(words("Don't stop, Zoë’s CAFÉ_1 — 3.5€!")).toEqual([
      "don't",
      "stop",
      ",",
      "zoë’s",
      "café_1",
      "—",
      "3",
      ".",
      "5",
      "€",
      "!",
    ]);
    expect(words("Привет, мир 你好")).toEqual(["привет", ",", "мир", "你好"]);
    expect(words("e\u0301te\u0301")).toEqual(["été"]);
    expect(words(" \n")).toEqual([]);
    expect(tokenizer({ punctuation: "drop", lowerCase: false })("Hi, you!")).toEqual(["Hi", "you"]);
    expect(tokenizer({ by: "whitespace" })("  A b,\tC ")).toEqual(["a", "b,", "c"]);
    expect(tokenizer({ by: "characters" })("a😀B")).toEqual(["a", "😀", "B"]);
    expect(tokenizer({ normalization: "NFKC" })("ﬁne")).toEqual(["fine"]);
    expect(() => tokenizer({ by: "word" } as never)).toThrow(
      /option by: expected "words" or "whitespace" or "characters"/,
    );
    expect(() => words(3 as never)).toThrow(/tokenizer, the text: .*expected a string, got 3/);
  });

  it("loses nothing but white space", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const plain = { lowerCase: false, normalization: "none" } as const;
        const squeezed = text.replace(/\s+/g, "");
        expect(tokenizer(plain)(text).join("")).toBe(squeezed);
        expect(tokenizer({ ...plain, by: "whitespace" })(text).join("")).toBe(squeezed);
        expect(tokenizer({ ...plain, by: "characters" })(text).join("")).toBe(text);
      }),
    );
  });
});

describe("Vocabulary", () => {
  const texts = ["the cat", "the dog", "The cat sat!"];
  it("numbers tokens by frequency, the same for the same texts in any order", () => {
    const v = Vocabulary.build(texts, { special: ["<s>"] });
    expect(v.tokens).toEqual(["<pad>", "<unk>", "<s>", "the", "cat", "!", "dog", "sat"]);
    expect(Vocabulary.build([...texts].reverse(), { special: ["<s>"] }).tokens).toEqual(v.tokens);
    expect([v.padding, v.unknown, v.size, v.number("cat"), v.number("cow")]).toEqual([0, 1, 8, 4, 1]);
    expect(Vocabulary.build(texts, { minCount: 2 }).tokens).toEqual(["<pad>", "<unk>", "the", "cat"]);
    expect(Vocabulary.build(texts, { maxSize: 3 }).tokens).toEqual(["<pad>", "<unk>", "the"]);
    expect(Vocabulary.build([["b", "a"], ["b"]], { padding: false, unknown: false }).tokens).toEqual(["b", "a"]);
  });

  it("encodes and decodes, cut or filled up", () => {
    const v = Vocabulary.build(texts, { special: ["<s>", "</s>"] });
    const cat = v.encode("The cat runs");
    expect(v.decode(cat)).toEqual(["the", "cat", "<unk>"]);
    expect(cat).toBeInstanceOf(Int32Array);
    expect(v.decode(v.encode("the cat sat", { length: 4, begin: "<s>", end: "</s>" }))).toEqual([
      "<s>",
      "the",
      "cat",
      "</s>",
    ]);
    expect([...v.encode("dog", { length: 4, end: "</s>" })]).toEqual([v.number("dog"), v.number("</s>"), 0, 0]);
    expect(v.decode(v.encode("dog", { length: 4 }))).toEqual(["dog"]);
    expect(v.decode([BigInt(v.number("dog"))])).toEqual(["dog"]);
    fc.assert(
      fc.property(fc.array(fc.constantFrom("the", "cat", "dog", "sat", "!")), fc.nat(8), (tokens, length) => {
        expect(v.decode(v.encode(tokens))).toEqual(tokens);
        expect(v.encode(tokens, { length })).toHaveLength(length);
        expect(v.decode(v.encode(tokens, { length }))).toEqual(tokens.slice(0, length));
      }),
    );
  });

  it("goes to JSON and comes back the same", async () => {
    const v = Vocabulary.build(["Ab ab", "C"], { lowerCase: false, punctuation: "drop", special: ["<s>"] });
    const back = Vocabulary.fromJSON(JSON.stringify(v));
    expect(back.tokens).toEqual(v.tokens);
    expect(back.encode("Ab, C? ab")).toEqual(v.encode("Ab, C? ab"));
    const folder = await mkdtemp(join(tmpdir(), "wasmith-text-"));
    const path = join(folder, "v.json");
    await writeFile(path, JSON.stringify(v));
    expect((await Vocabulary.load(path)).tokens).toEqual(v.tokens);
    const stored = JSON.parse(JSON.stringify(v)) as Record<string, unknown>;
    const wrong: readonly [unknown, RegExp][] = [
      ["{", /vocabulary: it is no JSON/],
      [{}, /not a vocabulary, but Object/],
      [{ ...stored, version: 9 }, /its version is 9/],
      [{ ...stored, tokens: ["a", "a"] }, /lists of tokens are damaged/],
      [{ ...stored, tokens: ["a", "<pad>", "<unk>", "<s>"] }, /padding is not the first one/],
      [{ ...stored, unknown: "?" }, /token for unknown, "\?", is none of its tokens/],
      [{ ...stored, tokenizer: { by: "x" } }, /option by/],
    ];
    for (const [value, message] of wrong) expect(() => Vocabulary.fromJSON(value)).toThrow(message);
    await writeFile(path, "[]");
    await expect(Vocabulary.load(path)).rejects.toThrow(/v.json: not a vocabulary/);
    await rm(folder, { recursive: true });
  });

  it("says what it can't do", () => {
    const v = Vocabulary.build(["a"], { padding: false, unknown: false });
    const wrong: readonly [() => unknown, RegExp][] = [
      [() => v.encode("b"), /the token "b" is not known\n.*unknown: "<unk>"/],
      [() => v.padding, /it has no token for padding/],
      [() => v.decode([5]), /5 is no number of a token\n.*from 0 to 0/],
      [() => v.encode("a", { begin: "<s>" }), /there is no token "<s>"\n.*special/],
      [() => Vocabulary.build("text" as never), /expected a list of texts/],
      [() => Vocabulary.build([], { special: ["<pad>"] }), /"<pad>" is named twice/],
      [() => Vocabulary.build([], { minCount: 0 }), /option minCount: expected a positive integer/],
    ];
    for (const [f, message] of wrong) expect(f).toThrow(message);
  });

  it("feeds a pipeline: tokens, buckets, lengths", async () => {
    const v = Vocabulary.build(texts);
    const batches = await dataset(texts)
      .map((text) => ({ ids: v.encode(text) }))
      .bucket({ by: "ids", bounds: [2], size: 2, pad: { ids: { value: v.padding, lengths: "lengths" } } })
      .toArray();
    expect(batches.map((b) => (b.ids as Tensor).shape)).toEqual([
      [2, 2],
      [1, 4],
    ]);
    expect(batches[1]!.lengths).toMatchObject({ data: Int32Array.of(4) });
  });
});

describe("tokenizers of trained models", () => {
  const encoder = new TextEncoder();
  const bytes = (value: unknown) => encoder.encode(JSON.stringify(value));
  const wordPiece = {
    version: "1.0",
    added_tokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map((content, id) => ({
      id,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [
        { SpecialToken: { id: "[CLS]", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "[SEP]", type_id: 0 } },
      ],
      pair: [
        { SpecialToken: { id: "[CLS]", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "[SEP]", type_id: 0 } },
        { Sequence: { id: "B", type_id: 1 } },
        { SpecialToken: { id: "[SEP]", type_id: 1 } },
      ],
      special_tokens: {
        "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
        "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
      },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: { "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, un: 4, "##break": 5, "##able": 6, cat: 7, "!": 8 },
    },
  };

  it("encode WordPiece with special tokens, pairs, masks, and decode", async () => {
    const t = await loadTokenizer(bytes(wordPiece));
    const one = t.encode("Unbreakable cat! dog", { length: 9 });
    expect(one.tokens).toEqual(["[CLS]", "un", "##break", "##able", "cat", "!", "[UNK]", "[SEP]"]);
    expect([...one.ids]).toEqual([2, 4, 5, 6, 7, 8, 1, 3, 0]);
    expect([...one.mask]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 0]);
    const two = t.encode("cat", { pair: "cat!" });
    expect([...two.ids]).toEqual([2, 7, 3, 7, 8, 3]);
    expect([...two.types]).toEqual([0, 0, 0, 1, 1, 1]);
    expect([...t.encode("cat", { special: false }).ids]).toEqual([7]);
    expect(t.decode(one.ids)).toBe("unbreakable cat!");
    expect([t.size, t.number("cat"), t.number("cow")]).toEqual([9, 7, undefined]);
    expect(t.decode([])).toBe("");
    expect(() => t.decode([9])).toThrow(/decode: 9 is no number of a token\n.*from 0 to 8/);
  });

  it("encode byte-pair by merges", async () => {
    const t = await loadTokenizer(
      bytes({
        version: "1.0",
        added_tokens: [],
        normalizer: null,
        pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
        post_processor: null,
        decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
        model: {
          type: "BPE",
          dropout: null,
          unk_token: null,
          vocab: { l: 0, o: 1, w: 2, e: 3, r: 4, lo: 5, low: 6, er: 7, Ġ: 8, Ġlow: 9, Ã: 10, "©": 11 },
          merges: [
            ["l", "o"],
            ["lo", "w"],
            ["e", "r"],
            ["Ġ", "low"],
          ],
        },
      }),
    );
    const { ids, tokens } = t.encode("lower lowé");
    expect(tokens).toEqual(["low", "er", "Ġlow", "Ã", "©"]);
    expect(t.decode(ids)).toBe("lower lowé");
    expect(() => t.encode("low", { length: 4 })).toThrow(/no token for padding/);
    expect([...t.encode("low", { length: 3, padding: 1 }).ids]).toEqual([6, 1, 1]);
  });

  it("give the numbers that the Python library gives, and decode as it does", async () => {
    // tests/fixtures/data/make-tokenizers.py: tokenizers 0.23.2, trained on the messages of sms-spam
    const all = JSON.parse(
      await readText(join(import.meta.dirname, "../fixtures/data/tokenizers.json.gz")),
    ) as readonly {
      readonly name: string;
      readonly tokenizer: object;
      readonly cases: readonly { readonly text: string; readonly ids: readonly number[]; readonly decoded: string }[];
    }[];
    expect(all.map((t) => t.name)).toEqual(["bpe", "wordpiece", "unigram"]);
    const sorted = (ids: Iterable<number>) => [...ids].sort((a, b) => a - b);
    let other = 0;
    for (const { name, tokenizer, cases } of all) {
      const t = await loadTokenizer(bytes(tokenizer));
      for (const { text, ids, decoded } of cases) {
        const got = [...t.encode(text).ids];
        if (String(got) !== String(ids)) other++;
        // Pieces of Unigram in another order are as likely.
        expect([name, text, name === "unigram" ? sorted(got) : got]).toEqual([
          name,
          text,
          name === "unigram" ? sorted(ids) : ids,
        ]);
        expect([name, t.decode(ids)]).toEqual([name, decoded]);
      }
    }
    expect(other).toBeLessThanOrEqual(1);
  });

  it("encode whole words, and pieces by their likelihood", async () => {
    const rest = {
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: "Whitespace" },
      post_processor: null,
      decoder: null,
    };
    const level = { type: "WordLevel", unk_token: "?", vocab: { hello: 0, world: 1, "?": 2 } };
    const words = await loadTokenizer(bytes({ ...rest, model: level }));
    expect([...words.encode("hello new world").ids]).toEqual([0, 2, 1]);
    const { unk_token: _, ...strict } = level;
    const known = await loadTokenizer(bytes({ ...rest, model: strict }));
    expect(() => known.encode("hello new")).toThrow(/encode: the tokenizer has no number for "new"/);
    const vocab = [
      ["<unk>", 0],
      ["a", -1],
      ["b", -1],
      ["ab", -1.5],
      ["abc", -9],
      ["c", -1],
    ];
    const unigram = await loadTokenizer(bytes({ ...rest, model: { type: "Unigram", unk_id: 0, vocab } }));
    expect([...unigram.encode("abc x").ids]).toEqual([3, 5, 0]);
  });

  it("refuse files that are none", async () => {
    await expect(loadTokenizer(encoder.encode("{"))).rejects.toThrow(/tokenizer.json: it is no JSON/);
    await expect(loadTokenizer(bytes([]))).rejects.toThrow(/it is no JSON object/);
    await expect(loadTokenizer(bytes({}))).rejects.toThrow(/it has no model/);
    await expect(loadTokenizer(bytes({ ...wordPiece, model: { type: "Nope", vocab: {} } }))).rejects.toThrow(
      /no model of the type "Nope"\n.*BPE, WordPiece, Unigram, WordLevel/,
    );
    await expect(loadTokenizer(bytes({ ...wordPiece, normalizer: { type: "Nope" } }))).rejects.toThrow(
      /the tokenizer can't be made: Unknown Normalizer type: Nope/,
    );
    await expect(loadTokenizer("missing.json")).rejects.toThrow(/missing.json: can't be read/);
    await expect(loadTokenizer(bytes(wordPiece), { maxBytes: 10 })).rejects.toThrow(/more than 10 bytes/);
  });
});
