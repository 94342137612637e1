/**
 * Words for what is wrong with what a caller gave: options, feeds, files. A module of its own, which is loaded where something is
 * wrong. The runtime decides; this module only says why, and what was probably meant.
 */
import { describe, type Problem } from "./errors.js";
import type { DimInfo, EntryInfo, TensorInfo } from "./format.js";
import { rangeText, signature } from "./tensor.js";

/** What an option is to be, by the name of its check in validate.ts. */
const kinds: Readonly<Record<string, string>> = {
  string: "a string",
  boolean: "true or false",
  size: "an integer of at least 0",
  count: "a positive integer",
  seconds: "seconds, more than 0",
  seed: "an integer (the seed), or false",
  list: "a list",
  object: "an object",
  signal: "an AbortSignal",
  function: "a function",
};

/** What stands in braces in notes of load. */
const reasons: Readonly<Record<string, string>> = {
  simd: "this engine has no WebAssembly SIMD",
  relaxed: "this engine has no relaxed SIMD",
  memory64: "this engine has no 64-bit memory",
  atomics: "this engine has no WebAssembly threads",
  sharing: "SharedArrayBuffer is missing",
  isolation:
    "SharedArrayBuffer is missing, because the page is not cross-origin isolated (serve it with the headers " +
    "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp)",
  single: "the artefact was compiled without threads",
  apart: "its threaded variants can't be had",
  missing: "its file is not part of what was loaded",
  compiled: "the hash of the module is not checked: it came compiled",
  insecure:
    "hashes are not checked: WebCrypto is missing, because the page is not a secure context (https or localhost)",
};

/** Notes of load with the reasons in words. */
export const inWords = (notes: readonly string[]): readonly string[] =>
  notes.map((note) => note.replace(/\{(\w+)\}/g, (_, reason: string) => reasons[reason]!));

const quoted = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);

/** Letters to change, add or remove to come from one word to the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}

/** The one of the names that was probably meant. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, "");
  const within = (a: string, b: string) => a.length > 2 && b.includes(a);
  if (name.length > 100) return undefined;
  const [best] = names
    .map((n) => {
      const [a, b] = [plain(name), plain(n)];
      return [n, within(a, b) || within(b, a) ? 1 : distance(a, b)] as const;
    })
    .sort(([, a], [, b]) => a - b);
  return best && best[1] <= Math.max(1, Math.floor(name.length / 3)) ? best[0] : undefined;
}

function instead(name: string, names: readonly string[], whose: string): string {
  const meant = names.length > 1 ? nearest(name, names) : undefined;
  return `${whose}: ${names.join(", ") || "none"}${meant === undefined ? "" : `; did you mean "${meant}"?`}`;
}

/** wasmith's name of an element type that another library calls so. */
export function dtypeOf(name: unknown): string | undefined {
  if (typeof name !== "string") return undefined;
  const plain = name
    .toLowerCase()
    .replace(/^(torch|tf|np|numpy|jnp)\./, "")
    .replace(/_t$/, "");
  const common: Readonly<Record<string, string>> = {
    float: "f32",
    double: "f64",
    half: "f16",
    int: "i32",
    long: "i64",
    boolean: "bool",
  };
  if (Object.hasOwn(common, plain)) return common[plain];
  const [, kind, bits] = /^(float|bfloat|int|uint)(\d+)$/.exec(plain) ?? [];
  return kind === undefined ? undefined : `${{ float: "f", bfloat: "bf", int: "i", uint: "u" }[kind]}${bits}`;
}

/** What a feed seems to be, if it is not one of ours. */
function feedHint(feed: unknown, problem: Problem): string | undefined {
  if (typeof feed !== "object" || feed === null || ArrayBuffer.isView(feed)) return undefined;
  if ("then" in feed) return "this is a promise: await it";
  if (feed instanceof ArrayBuffer) return "pass a typed array over it";
  if (Array.isArray(feed))
    return "pass { dtype, shape, data } or a typed array, as Float32Array.from makes of an array";
  const { dtype, type, dims, shape, data } = feed as Readonly<Record<string, unknown>>;
  const name = dtypeOf(dtype) ?? dtypeOf(type);
  if (dtype === undefined && type !== undefined) {
    const sizes = shape === undefined && dims !== undefined ? "t.dims" : "t.shape";
    return `this looks like a tensor of another library (ONNX Runtime): pass { dtype: ${quoted(name ?? "f32")}, shape: ${sizes}, data: t.data }`;
  }
  if (name !== undefined && name !== dtype) return `wasmith calls this dtype "${name}"`;
  if (data !== undefined && shape === undefined) return "a tensor is { dtype, shape, data }";
  return problem.hint;
}

const fixedInput = (name: string): Problem => ({
  message: "this input is a constant of the compiled program, since the ONNX file gives it a value (an initializer)",
  hint: `to feed it, import with the option overrides: [${JSON.stringify(name)}], or compile with compileFor`,
});

const begins =
  (...starts: readonly string[]) =>
  (text: string) =>
    starts.some((s) => text.startsWith(s));

/** An ONNX file begins with its IR version, a small number, and goes on with a field of ModelProto. */
const isOnnx = (text: string): boolean =>
  text.startsWith("\b") && text.charCodeAt(1) < 32 && "\n\x12\x1a\x22\x28\x32\x3a\x42".includes(text[2] ?? "?");

/** Files that are loaded by mistake, by their beginnings. */
const files: readonly { readonly is: (text: string) => boolean; readonly what: string; readonly hint: string }[] = [
  { is: (t) => t === "", what: "an empty file", hint: "compile the model again, or copy it anew" },
  {
    is: (t) => begins("<")(t.trimStart().replace("\xef\xbb\xbf", "")),
    what: "an HTML or XML page",
    hint: "the address is wrong: servers answer so for what they do not find, or where one is to log in",
  },
  { is: begins("version https://git-lfs"), what: "a pointer of Git LFS, not the file", hint: "run `git lfs pull`" },
  {
    is: isOnnx,
    what: "an ONNX model",
    hint: "compile it first: wasmith compile model.onnx, or compile(importOnnx(bytes)) of the package wasmith",
  },
  {
    is: begins("wasmith"),
    what: "an encrypted artefact",
    hint: "give its key: load(source, { key }), or --key FILE on the command line",
  },
  { is: (t) => t[8] === "{", what: "a file of weights (safetensors)", hint: "load the .wasm file that lies beside it" },
  { is: (t) => /^\s*[[{]/.test(t), what: "a JSON file", hint: "load the .wasm file of the artefact" },
  {
    is: (t) => /^(\/\/|\/\*|import |export |"use strict")/.test(t),
    what: "a JavaScript module",
    hint: "import it, or load the .wasm file that lies beside it",
  },
  { is: begins("\x1f\x8b"), what: "a gzip archive", hint: "unpack it, or serve it with content-encoding: gzip" },
  {
    is: begins("PK\x03\x04"),
    what: "a zip archive (perhaps a PyTorch checkpoint)",
    hint: "unpack it, or export the model to ONNX and compile that",
  },
  {
    is: begins("\0asm"),
    what: "a WebAssembly file of another kind (a component?)",
    hint: "load the .wasm file that wasmith compiled",
  },
];

// Whoever looks for eval in what is served shall not find the word here.
const sourceWord = "wasm-unsafe-%val".replace("%", "e");

const wholeMemory = 2 ** 32;
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** What each complaint says. */
export const words = {
  options(
    of: string,
    options: unknown,
    checks: Readonly<Record<string, string>>,
    wrong: readonly string[],
  ): readonly Problem[] {
    if (typeof options !== "object" || options === null || Symbol.iterator in options)
      return [{ where: of, message: `expected an object of options, got ${describe(options)}` }];
    return wrong.map((name) =>
      Object.hasOwn(checks, name)
        ? {
            where: `option ${name}`,
            message: `expected ${kinds[checks[name]!] ?? checks[name]}, got ${describe((options as Record<string, unknown>)[name])}`,
          }
        : {
            where: `option ${quoted(name)}`,
            message: `${of} has no such option`,
            hint: instead(name, Object.keys(checks), "its options are"),
          },
    );
  },

  noFeeds({ inputs }: Pick<EntryInfo, "inputs">, feeds: unknown): readonly Problem[] {
    const message = `expected an object of inputs by name, got ${describe(feeds)}`;
    return [{ where: "feeds", message, hint: `pass { ${inputs.map((i) => i.name).join(", ")} }` }];
  },

  feeds(
    problems: readonly Problem[],
    { inputs, fixedInputs = [] }: Pick<EntryInfo, "inputs" | "fixedInputs">,
    feeds: Readonly<Record<string, unknown>>,
  ): readonly Problem[] {
    const names = inputs.map((i) => i.name);
    return problems.map((p) => {
      const name = [...names, ...Object.keys(feeds)].find((n) => p.where === `input "${n}"`);
      if (name === undefined) return p;
      if (fixedInputs.includes(name)) return { ...p, ...fixedInput(name) };
      if (!names.includes(name)) {
        return { ...p, message: "the model has no such input", hint: instead(name, names, "its inputs are") };
      }
      const hint = feedHint(feeds[name], p) ?? p.hint;
      return { ...p, hint };
    });
  },

  /** Sizes that are unknown or out of their ranges. @param values and who binds them @param open inputs whose shapes are not known */
  dims(
    problems: readonly Problem[],
    wrong: readonly DimInfo[],
    values: ReadonlyMap<string, { readonly value: number; readonly by: string }>,
    open: readonly TensorInfo[],
  ): readonly Problem[] {
    const why = (dim: DimInfo): Problem => {
      const { name } = dim;
      const bound = values.get(name);
      const range = rangeText(dim);
      if (bound)
        return {
          where: bound.by,
          message: `dim "${name}" is ${bound.value}, outside its range ${range}`,
          hint: "compile the model with a wider range",
        };
      const inputs = open.filter((t) => t.shape.some((d) => typeof d !== "number" && d.dim === name));
      const [where, hint] = inputs[0]
        ? [
            `input ${inputs.map((t) => `"${t.name}"`).join(", ")}`,
            "pass { dtype, shape, data } instead of the data alone",
          ]
        : ["option dims", `pass { dims: { ${name}: … } } in ${range}`];
      return { where, message: `the size of dim "${name}" is not known`, hint };
    };
    return [...problems, ...wrong.map(why)];
  },

  /** There is nothing of this name. @param names of those that there are */
  name(kind: "entry" | "output", name: unknown, names: readonly string[]): readonly Problem[] {
    const [where, whose] = (
      {
        entry: ["option entry", "there are"],
        output: ["option outputs", "the outputs are"],
      } as const
    )[kind];
    return [{ where, message: `no ${kind} ${describe(name)}`, hint: instead(String(name), names, whose) }];
  },

  /** An input has another shape than this run's sizes give it. @param got the shape, or the number of elements */
  inputShape(input: TensorInfo, shape: readonly number[], got: readonly number[] | number): readonly Problem[] {
    const given = typeof got === "number" ? `${got} elements` : `[${got.join(", ")}]`;
    const message = `expected ${signature(input)}, here [${shape.join(", ")}], got ${given}`;
    return [{ where: `input "${input.name}"`, message }];
  },

  variant(id: string, why: string): readonly Problem[] {
    return [{ where: "option variant", message: `"${id}" can't run: ${inWords([why])}` }];
  },

  source(given: unknown): readonly Problem[] {
    const message = `expected a path, URL, Response, bytes, module or artefact, got ${describe(given)}`;
    return [{ where: "source", message }];
  },

  threads(given: unknown): readonly Problem[] {
    const message = `expected "auto" or an integer from 1 to 256, got ${describe(given)}`;
    return [{ where: "option threads", message }];
  },

  notEncrypted(): readonly Problem[] {
    return [{ where: "option key", message: "what is loaded is not encrypted" }];
  },

  noPrediction(): readonly Problem[] {
    const hint = "compile the training step with prediction";
    return [{ where: "predict", message: "the artefact has no entry for it", hint }];
  },

  noSuchVariant(id: string, ids: readonly string[]): readonly Problem[] {
    return [{ where: "option variant", message: `"${id}" is not in the artefact`, hint: `it has: ${ids.join(", ")}` }];
  },

  relaxedVariant(id: string): readonly Problem[] {
    return [{ where: "option variant", message: `"${id}" contradicts deterministic: true` }];
  },

  /** A file of the artefact can't be reached from what was loaded. */
  apart(file: string): readonly Problem[] {
    const hint = "compile with --single-file, pass the option weights, or load from a path or URL";
    return [{ where: "artefact", message: `"${file}" is not part of it`, hint }];
  },

  noVariant(notes: readonly string[], ids: readonly string[]): readonly Problem[] {
    const hint = inWords(notes).join("; ") || `it has: ${ids.join(", ")}`;
    return [{ where: "artefact", message: "no variant can run here", hint }];
  },

  /** A run needs more bytes than are allowed or to be had. @param sizes those of its dims */
  memory(needed: number, allowed: number, sizes: string): readonly Problem[] {
    const why =
      needed > Math.max(wholeMemory, allowed)
        ? `more than the ${allowed > wholeMemory ? mebibytes(allowed) : "4 GiB"} of WebAssembly, or a tensor of 2^31 elements or more`
        : `${mebibytes(needed)}, ${needed > allowed ? `maxMemoryBytes allows ${mebibytes(allowed)}` : "which the platform does not give"}`;
    const message = `a run${sizes && ` with ${sizes}`} needs ${why}`;
    return [{ where: "memory", message, hint: "use smaller sizes, or raise maxMemoryBytes" }];
  },

  /** A thread could not be had. */
  worker(why: unknown): readonly Problem[] {
    const hint = "say where worker.js lies with the option workerUrl, or load with { threads: 1 }";
    return [{ where: "threads", message: `a worker did not start: ${why}`, hint }];
  },

  /** What outlives runs needs more bytes than are allowed or to be had. @param allowed undefined where the platform does not give it */
  modelMemory(needed: number, allowed?: number): readonly Problem[] {
    return allowed === undefined
      ? [{ where: "memory", message: `the platform does not give ${mebibytes(needed)}` }]
      : [
          {
            where: "option maxMemoryBytes",
            message: `the model alone takes ${mebibytes(needed)}, ${mebibytes(allowed)} are allowed`,
          },
        ];
  },

  file(start: Uint8Array): readonly Problem[] {
    const text = String.fromCharCode(...start);
    const found = files.find((f) => f.is(text));
    const message = `not a WebAssembly module${found ? `, but ${found.what}` : ""}`;
    return [
      {
        where: "artefact",
        message,
        hint: found?.hint ?? "the file is damaged or incomplete: compile it again or copy it anew",
      },
    ];
  },

  engine(file: string, error: Error): readonly Problem[] {
    const { name, message } = error;
    if (name === "EvalError" || /content security policy|\bCSP\b|unsafe-.val|disallowed by embedder/i.test(message)) {
      return [
        {
          where: "page",
          message: `its content security policy forbids WebAssembly (${message})`,
          hint: `serve the page with script-src 'self' '${sourceWord}'`,
        },
      ];
    }
    return [
      { where: "artefact", message: `this engine rejects "${file}": ${message}`, hint: "compile for an older target" },
    ];
  },
};
