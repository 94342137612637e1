/** Tokenizers of trained models, by @huggingface/tokenizers: byte-pair, WordPiece and Unigram as `tokenizer.json` describes them. */
import { describe, modelError } from "../../errors.js";
import type { BinarySource } from "../../read.js";
import { aBoolean, aSize, aString, type Checks, checkArgument, checkOptions, either, isRecord } from "../options.js";
import { badFile, decodeText, open, type ReadOptions, readChecks } from "../read/bytes.js";

export interface PretrainedOptions extends ReadOptions {
  /** `tokenizer_config.json`, where it changes something (lower-casing, which tokens are added): its source, or its value. */
  readonly config?: BinarySource | Readonly<Record<string, unknown>> | undefined;
}
const pretrainedChecks: Checks<PretrainedOptions> = {
  ...readChecks,
  config: either(aString, { expected: "a source or an object", fits: isRecord }),
};

export interface PretrainedEncodeOptions {
  /** A second text, as for questions and answers. */
  readonly pair?: string | undefined;
  /** Tokens such as [CLS] and [SEP] as the model was trained with. Default true. */
  readonly special?: boolean | undefined;
  /** Exactly so many numbers: cut, or filled up with `padding`. */
  readonly length?: number | undefined;
  /** Number of what fills up. Default: that of [PAD], <pad> or <|endoftext|>, whichever there is. */
  readonly padding?: number | undefined;
}
const encodeChecks: Checks<PretrainedEncodeOptions> = {
  pair: aString,
  special: aBoolean,
  length: aSize,
  padding: aSize,
};

/** What the library's tokenizer does, as far as it is used. */
interface Library {
  encode(
    text: string,
    options: object,
  ): {
    readonly ids: readonly number[];
    readonly tokens: readonly string[];
    readonly token_type_ids?: readonly number[];
  };
  decode(ids: number[], options: object): string;
  token_to_id(token: string): number | undefined;
  get_vocab(withAddedTokens: boolean): ReadonlyMap<string, number>;
}

export interface PretrainedEncoding {
  readonly ids: Int32Array;
  /** 1 where tokens are, 0 where it is filled up. */
  readonly mask: Int32Array;
  /** 0 for the first text, 1 for the pair. */
  readonly types: Int32Array;
  readonly tokens: readonly string[];
}

export class PretrainedTokenizer {
  readonly #library: Library;
  /** How many numbers there are: one more than the largest. */
  readonly size: number;

  constructor(library: Library) {
    this.#library = library;
    let most = -1;
    for (const id of library.get_vocab(true).values()) most = Math.max(most, id);
    this.size = most + 1;
  }

  encode(text: string, options: PretrainedEncodeOptions = {}): PretrainedEncoding {
    checkArgument("encode", "the text", text, aString);
    checkOptions("encode", options, encodeChecks);
    const { pair = null, special = true, length } = options;
    const {
      ids,
      tokens,
      token_type_ids: types = [],
    } = this.#library.encode(text, {
      text_pair: pair,
      add_special_tokens: special,
      return_token_type_ids: true,
    });
    const unknown = ids.findIndex((id) => !Number.isInteger(id));
    if (unknown >= 0)
      throw modelError(
        "encode",
        `the tokenizer has no number for ${JSON.stringify(tokens[unknown])}, and none for what it does not know`,
      );
    const size = length ?? ids.length;
    const used = Math.min(size, ids.length);
    const fill = used < size ? (options.padding ?? this.#padding()) : 0;
    return {
      ids: Int32Array.from({ length: size }, (_, i) => (i < used ? ids[i]! : fill)),
      mask: Int32Array.from({ length: size }, (_, i) => Number(i < used)),
      types: Int32Array.from({ length: size }, (_, i) => (i < used ? (types[i] ?? 0) : 0)),
      tokens: tokens.slice(0, used),
    };
  }

  #padding(): number {
    for (const token of ["[PAD]", "<pad>", "<|endoftext|>"]) {
      const id = this.#library.token_to_id(token);
      if (id !== undefined) return id;
    }
    throw modelError("encode", "the tokenizer has no token for padding", "pass { padding: 0 }");
  }

  /** @param options.special keep tokens such as [CLS]; default false */
  decode(ids: Iterable<number | bigint>, { special = false }: { readonly special?: boolean } = {}): string {
    const numbers = Array.from(ids, (id) => {
      if (Number.isInteger(Number(id)) && id >= 0 && id < this.size) return Number(id);
      throw modelError("decode", `${id} is no number of a token`, `they go from 0 to ${this.size - 1}`);
    });
    return numbers.length === 0 ? "" : this.#library.decode(numbers, { skip_special_tokens: !special });
  }

  /** The number of a token, if it is one. */
  number(token: string): number | undefined {
    return this.#library.token_to_id(token);
  }
}

const models: readonly string[] = ["BPE", "WordPiece", "Unigram", "WordLevel"];

/** Reads a `tokenizer.json`. @throws ModelError where it is none, or of a kind that the library does not know */
export async function loadTokenizer(
  source: BinarySource,
  options: PretrainedOptions = {},
): Promise<PretrainedTokenizer> {
  const json = async (
    from: BinarySource,
    what: string,
    of: ReadOptions,
  ): Promise<readonly [string, Readonly<Record<string, unknown>>]> => {
    const file = await open(what, from, of, readChecks);
    try {
      const value: unknown = JSON.parse(decodeText(file, "utf-8"));
      if (isRecord(value)) return [file.name, value];
    } catch (cause) {
      if ((cause as Error).name === "ModelError") throw cause;
      badFile(file.name)(`it is no JSON: ${(cause as Error).message}`, undefined, cause);
    }
    return badFile(file.name)("it is no JSON object");
  };
  checkOptions("loadTokenizer", options, pretrainedChecks);
  const { config = {}, ...reading } = options;
  const [name, value] = await json(source, "tokenizer.json", reading);
  if (!isRecord(value.model))
    badFile(name)("it has no model", "a tokenizer.json of the library tokenizers is expected");
  const isSource =
    typeof config === "string" ||
    config instanceof URL ||
    config instanceof Response ||
    config instanceof ArrayBuffer ||
    config instanceof Uint8Array ||
    config instanceof Promise;
  const [, settings] = isSource ? await json(config as BinarySource, "tokenizer_config.json", reading) : ["", config];
  // Files from before types were written have none; the library tells those apart by what they hold.
  const { type = "BPE", unk_token: unknown } = value.model as { readonly type?: unknown; readonly unk_token?: unknown };
  if (!models.includes(type as string))
    badFile(name)(`there is no model of the type ${describe(type)}`, `there are: ${models.join(", ")}`);
  const { Tokenizer } = await import("@huggingface/tokenizers");
  try {
    return new PretrainedTokenizer(
      new Tokenizer(value, {
        ...(type === "WordLevel" ? { unk_token: unknown } : {}),
        // What is decoded is what the decoder of the file says; taking spaces away is up to the config.
        clean_up_tokenization_spaces: false,
        ...settings,
      }) as unknown as Library,
    );
  } catch (cause) {
    return badFile(name)(
      `the tokenizer can't be made: ${(cause as Error).message}`,
      "its parts may be of a kind that is not known",
      cause,
    );
  }
}
