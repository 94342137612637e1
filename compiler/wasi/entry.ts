/** The part of a WASI command that is made for one model, in Loop IR's text form: its inputs, its sizes, its outputs. */
import type { EntryInfo, LimitInfo, Manifest, ManifestDim, TensorInfo } from "../../runtime/format.js";
import {
  mostPages,
  pageBytes,
  planOverflow,
  planRefused,
  wordLimit,
  wordNeeded,
  wordPoll,
  wordResume,
  wordStop,
} from "../../runtime/format.js";
import { fileName } from "../../runtime/safetensors.js";
import { byteSize, signature } from "../../runtime/tensor.js";
import { align, bufferBytes, isText, lengthOf, mostAxes, mostEchoed, place, say, setWord, word } from "./scratch.js";

/** Digits of a number at most, with a sign. */
const digits = 20;
const headerLimit = 100_000_000;
const isOpen = (d: ManifestDim): d is Exclude<ManifestDim, number> => typeof d !== "number";
const elementBytes = (t: TensorInfo): number => byteSize(t.dtype, []);

/** Says what is wrong with `where`, and ends. */
const failing = (...parts: readonly string[]): string => [...parts, "call @wasi_fail(%scratch)"].join("\n");
const number = (value: string): string => `call @wasi_say_number(%scratch, i64.from_i32S(${value}))`;
const func = (name: string, params: string, body: readonly string[], result = "", textAt = 0): string =>
  `func @${name}(%scratch: i32${params})${result} {\nlet %s = ptr.from_i32U(%scratch)\nlet %text = %s + ${textAt}:ptr\n${body.join("\n")}\n}\n`;

/** Text between quotes of JSON, as writers have it: as it is, or in ASCII. */
const spellings = (name: string): string[] => {
  const plain = JSON.stringify(name).slice(1, -1);
  const ascii = plain.replace(/[^\0-\x7f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return [...new Set([plain, ascii])];
};

/** The outputs in the order of the file: the widest elements first, so that each lies aligned. */
const ordered = (outputs: readonly TensorInfo[]): readonly TensorInfo[] =>
  [...outputs].sort((a, b) => elementBytes(b) - elementBytes(a));

export class CommandEntry {
  readonly #entry: EntryInfo;
  readonly #name: string;
  readonly #manifest: Pick<Manifest, "memory">;
  /** Places in scratch memory: sizes of the named dims, shapes and addresses of inputs, text, and what is read. */
  readonly #dims: number;
  readonly #shapes: readonly number[];
  readonly #addresses: number;
  readonly textAt: number;
  readonly #headerAt: number;

  constructor(name: string, entry: EntryInfo, manifest: Pick<Manifest, "memory">) {
    this.#entry = entry;
    this.#name = name;
    this.#manifest = manifest;
    let at = place.inputs + 8 * entry.inputs.length;
    const room = (bytes: number): number => {
      at += bytes;
      return at - bytes;
    };
    this.#dims = room(4 * entry.dims.length);
    this.#addresses = room(4 * entry.inputs.length);
    this.#shapes = entry.inputs.map((t) => room(4 * t.shape.length));
    this.textAt = align(at, 64);
    this.#headerAt = this.textAt + align(this.#mostText(), 64);
  }

  /** Bytes that what is said takes at most. */
  #mostText(): number {
    const { inputs, outputs, limits } = this.#entry;
    const names = inputs.reduce((n, t) => n + lengthOf(t.name) + 2, 0);
    const message = Math.max(
      0,
      ...inputs.map((t) => 2 * lengthOf(signature(t)) + lengthOf(t.name)),
      ...limits.map((l) => lengthOf(l.where + l.message + l.hint)),
    );
    const header = outputs.reduce((n, t) => n + 6 * lengthOf(t.name) + 64 + (digits + 2) * (t.shape.length + 2), 64);
    return Math.max(1024 + mostEchoed + names + message + (digits + 2) * mostAxes, header);
  }

  #func(name: string, params: string, body: readonly string[], result = ""): string {
    return func(name, params, body, result, this.textAt);
  }

  /** The value of a slot of the table, as an i32. */
  #slot(slot: number): string {
    return `load i32 (${this.#manifest.memory.tableOffset}:ptr)[${slot}]`;
  }

  #setSlot(slot: number, value: string): string {
    return `store i32 (${this.#manifest.memory.tableOffset}:ptr)[${slot}] = ${value}`;
  }

  #size(d: ManifestDim): string {
    return isOpen(d) ? this.#slot(d.slot) : String(d);
  }

  #address(t: TensorInfo): string {
    return typeof t.offset === "number" ? String(t.offset) : this.#slot(t.offset.slot);
  }

  functions(): string {
    return [
      this.#input(),
      this.#unknown(),
      this.#damaged(),
      this.#take(),
      this.#bind(),
      this.#tooLarge(),
      this.#limits(),
      this.#plan(),
      this.#move(),
      this.#check(),
      this.#answer(),
      this.#start(),
    ].join("\n");
  }

  /** Which input has this name. */
  #input(): string {
    const cases = this.#entry.inputs.flatMap((t, k) =>
      spellings(t.name).map((s) => `if ${isText(s, "%name", "%length")} { return ${k} }`),
    );
    return `func @wasi_input(%name: ptr, %length: i32) -> i32 {\n${cases.join("\n")}\nreturn -1\n}\n`;
  }

  #unknown(): string {
    const names = this.#entry.inputs.map((t) => t.name).join(", ") || "none";
    return this.#func("wasi_unknown", ", %name: ptr, %length: i32", [
      failing(
        say('input "'),
        "call @wasi_say_bytes(%scratch, %name, %length)",
        say(`": the model has no such input\n  → its inputs are: ${names}`),
      ),
    ]);
  }

  #damaged(): string {
    const text =
      "standard input: not a safetensors file, or incomplete\n  → give the inputs by name in the safetensors format";
    return this.#func("wasi_damaged", "", [failing(say(text))]);
  }

  /** Takes what the header says of input `%k`: is it of the right type, and which sizes does it bind? */
  #take(): string {
    const cases = this.#entry.inputs.map((t, k) => {
      const where = `input "${t.name}": expected ${signature(t)}, got `;
      const axis = (i: number): string => word(place.shape + 4 * (i + 1));
      const dims = t.shape.map((d, i) => {
        const index = isOpen(d) ? this.#entry.dims.findIndex(({ name }) => name === d.dim) : -1;
        const keep = `store i32 %s[${this.#shapes[k]! / 4 + i}] = ${axis(i)}`;
        if (!isOpen(d)) return `if ne(${axis(i)}, ${d}) { ${this.#otherShape(t)} }\n${keep}`;
        if (index < 0) return keep;
        const at = this.#dims + 4 * index;
        const differs = failing(
          say(`input "${t.name}": dim "${d.dim}" is `),
          number(axis(i)),
          say(" here, but "),
          number(word(at)),
          say(" in another input\n  → give all inputs the same size there"),
        );
        return `${keep}\nif eq(${word(at)}, -1) { ${setWord(at, axis(i))} }\nif ne(${word(at)}, ${axis(i)}) { ${differs} }`;
      });
      const file = fileName(t.dtype);
      const otherType = failing(
        say(where),
        `call @wasi_say_bytes(%scratch, %h + ptr.from_i32S(${word(place.dtype)}), ${word(place.dtype + 4)})`,
        say("\n  → convert the data to the model's dtype"),
      );
      const sizes = t.shape.map((_, i) => `f64.from_i32U(${axis(i)})`);
      const bytes = [`${elementBytes(t)}.0:f64`, ...sizes].reduce((a, b) => `${a} * ${b}`);
      const at = place.inputs + 8 * k;
      return `if eq(%k, ${k}) {
if ne(${word(at)}, -1) { call @wasi_damaged(%scratch) }
if not(${isText(file, `(%h + ptr.from_i32S(${word(place.dtype)}))`, word(place.dtype + 4))}) { ${otherType} }
if ne(${word(place.shape)}, ${t.shape.length}) { ${this.#otherShape(t)} }
${dims.join("\n")}
let %begin${k} = ${word(place.offsets + 4)}
let %end${k} = ${word(place.offsets + 8)}
if or(ltU(%end${k}, %begin${k}), ne(f64.from_i32U(%end${k} - %begin${k}), ${bytes})) { call @wasi_damaged(%scratch) }
${setWord(at, `%begin${k}`)}
${setWord(at + 4, `%end${k}`)}
}`;
    });
    return this.#func("wasi_take", ", %h: ptr, %k: i32", cases);
  }

  #otherShape(t: TensorInfo): string {
    return failing(
      say(`input "${t.name}": expected ${signature(t)}, got ${t.dtype}`),
      "call @wasi_say_shape(%scratch)",
    );
  }

  /** All inputs are there, and the sizes in their ranges: they go to the table. */
  #bind(): string {
    const { inputs, dims } = this.#entry;
    const missing = inputs.map(
      (t, k) =>
        `if eq(${word(place.inputs + 8 * k)}, -1) { ${failing(say(`input "${t.name}": missing; expected ${signature(t)}`))} }`,
    );
    const sizes = dims.map(({ name, min, max, slot }, i) => {
      const value = word(this.#dims + 4 * i);
      const text = say(`, outside its range [${min}, ${max ?? "∞"}]\n  → compile the model with a wider range`);
      return `if or(ltS(${value}, ${min}), gtS(${value}, ${max ?? 2 ** 31 - 1})) { ${failing(say(`dim "${name}" is `), `call @wasi_say_number(%scratch, i64.from_i32U(${value}))`, text)} }
${this.#setSlot(slot, value)}`;
    });
    return this.#func("wasi_bind", "", [...missing, ...sizes]);
  }

  #tooLarge(): string {
    return this.#func("wasi_too_large", "", [
      failing(say("memory: a run with these sizes needs more than there is\n  → use smaller sizes")),
    ]);
  }

  /** What the run broke. */
  #limits(): string {
    const broken = ({ slot, where, message, hint }: LimitInfo): string => {
      const [before = "", after] = message.split("{}");
      const value =
        after === undefined
          ? []
          : [`call @wasi_say_number(%scratch, i64.from_i32S(shrS(${this.#slot(slot)}, 1)))`, say(after)];
      return `if ne(${this.#slot(slot)}, 0) { ${failing(say(`${where}: ${before}`), ...value, say(hint ? `\n  → ${hint}` : ""))} }`;
    };
    return this.#func("wasi_limits", "", this.#entry.limits.map(broken));
  }

  /** Lays the run out, and gives the end of what it takes. */
  #plan(): string {
    const first = this.#manifest.memory.minPages * pageBytes;
    // As an unsigned i32.
    const most = Math.min(this.#manifest.memory.maxPages * pageBytes, 2 ** 32 - 1) | 0;
    const derived = this.#entry.inputs.map((t, k) =>
      t.shape
        .map((d, i) =>
          isOpen(d)
            ? `if ne(${this.#slot(d.slot)}, ${word(this.#shapes[k]! + 4 * i)}) { ${failing(say(`input "${t.name}": expected ${signature(t)}, here ${d.dim} is `), number(this.#slot(d.slot)), say(", got "), number(word(this.#shapes[k]! + 4 * i)))} }`
            : "",
        )
        .join("\n"),
    );
    return this.#func(
      "wasi_plan",
      "",
      [
        `let %needed = call i32 @plan_${this.#name}()`,
        `if eq(%needed, ${planRefused}) { call @wasi_limits(%scratch) }`,
        `if or(eq(%needed, ${planOverflow}), eq(%needed, ${planRefused})) { call @wasi_too_large(%scratch) }`,
        `if gtU(%needed, ${most}) { call @wasi_too_large(%scratch) }`,
        ...derived,
        `return maxU(%needed, ${first})`,
      ],
      " -> i32",
    );
  }

  /** Scratch memory behind `%end`, and room for a buffer. The contents come along. */
  #move(): string {
    const bytes = this.#headerAt;
    return this.#func(
      "wasi_move",
      ", %end: i32",
      [
        "if gtU(%end, -2097152) { call @wasi_too_large(%scratch) }",
        "let %to = and(%end + 63, -64)",
        `if eq(host.reserve(f64.from_i32U(%to) + ${bytes + bufferBytes}.0:f64), 0) { call @wasi_too_large(%scratch) }`,
        `copy ptr.from_i32U(%to), %s, ${bytes}:ptr`,
        "return %to",
      ],
      " -> i32",
    );
  }

  /** Bytes of bool are 0 or 1. */
  #check(): string {
    const bools = this.#entry.inputs.flatMap((t, k) => {
      if (t.dtype !== "bool") return [];
      const count = t.shape.map((d) => this.#size(d)).reduce((a, b) => `${a} * ${b}`, "1");
      const value = `load i32.u8 (ptr.from_i32U(${this.#address(t)}))[%i${k}]`;
      const bad = failing(
        say(`input "${t.name}": expected ${signature(t)}, got the value `),
        number(value),
        say(" at index "),
        number(`%i${k}`),
        say("\n  → bool elements are 0 or 1"),
      );
      return [`for %i${k} = 0 to ${count} { if gtU(${value}, 1) { ${bad} } }`];
    });
    return this.#func("wasi_check", "", bools);
  }

  /** The outputs to standard output. */
  #answer(): string {
    const outputs = ordered(this.#entry.outputs);
    const count = (t: TensorInfo): string =>
      t.shape.map((d) => this.#size(d)).reduce((a, b) => `${a} * ${b}`, String(elementBytes(t)));
    const header = outputs.flatMap((t, k) => [
      say(`${k ? "," : ""}${JSON.stringify(t.name)}:{"dtype":"${fileName(t.dtype)}","shape":[`),
      ...t.shape.flatMap((d, i) => [...(i ? [say(",")] : []), number(this.#size(d))]),
      say('],"data_offsets":['),
      number("%at").replace("from_i32S", "from_i32U"),
      `%at = %at + ${count(t)}`,
      say(","),
      number("%at").replace("from_i32S", "from_i32U"),
      say("]}"),
    ]);
    return this.#func("wasi_answer", "", [
      setWord(place.cursor, "8"),
      "mut %at = 0",
      say("{"),
      ...header,
      say("}"),
      `while ne(and(${word(place.cursor)}, 7), 0) { ${say(" ")} }`,
      `store i64 %text[0] = i64.from_i32U(${word(place.cursor)} - 8)`,
      `call @wasi_write(%scratch, 1, %scratch + ${this.textAt}, ${word(place.cursor)})`,
      ...outputs.map((t) => `call @wasi_write(%scratch, 1, ${this.#address(t)}, ${count(t)})`),
    ]);
  }

  #start(): string {
    const { memory } = this.#manifest;
    const { inputs, limits, steps } = this.#entry;
    const first = memory.minPages * pageBytes;
    const setControl = (index: number, value: string): string => `store i32 (0:ptr)[${index}] = ${value}`;
    const reserve = (bytes: string): string => `if eq(host.reserve(${bytes}), 0) { let %code = host.exit(1) }`;
    const whole = this.#headerAt + bufferBytes;
    return `func @_start() {
${setControl(wordLimit, String(mostPages))}
${reserve(`${first + whole}.0:f64`)}
mut %scratch = ${first}
mut %s = ptr.from_i32U(%scratch)
fill %s + ${place.inputs}:ptr, 255, ${this.#addresses - place.inputs}:ptr
if ne(call i32 @wasi_read(%scratch, %scratch + ${this.#headerAt}, 8), 8) { call @wasi_damaged(%scratch) }
let %length = load i64 (%s + ${this.#headerAt}:ptr)[0]
if gtU(%length, ${headerLimit}:i64) { call @wasi_damaged(%scratch) }
let %n = i32.from_i64(%length)
if eq(host.reserve(f64.from_i32U(%n) + ${first + whole}.0:f64), 0) { call @wasi_too_large(%scratch) }
if ne(call i32 @wasi_read(%scratch, %scratch + ${this.#headerAt}, %n), %n) { call @wasi_damaged(%scratch) }
if ltS(call i32 @wasi_header(%scratch, %s + ${this.#headerAt}:ptr, %n), 0) { call @wasi_damaged(%scratch) }
call @wasi_bind(%scratch)
let %needed = call i32 @wasi_plan(%scratch)
%scratch = call i32 @wasi_move(%scratch, %needed)
%s = ptr.from_i32U(%scratch)
${inputs.map((t, k) => `store i32 %s[${this.#addresses / 4 + k}] = ${this.#address(t)}`).join("\n")}
call @wasi_data(%scratch, %s + ${this.#addresses}:ptr, %scratch + ${this.#headerAt})
call @wasi_check(%scratch)
${limits.map(({ slot }) => this.#setSlot(slot, "0")).join("\n")}
${[wordPoll, wordResume, wordStop, wordNeeded].map((w) => setControl(w, "0")).join("\n")}
${setControl(wordLimit, String(memory.maxPages))}
let %end = call i32 @run_${this.#name}(0, 1, 0, ${steps.length})
${setControl(wordLimit, String(mostPages))}
let %found = load i32 (0:ptr)[${wordNeeded}] * ${pageBytes}
// A run that finds sizes may have taken what was here.
%scratch = call i32 @wasi_move(%scratch, maxU(%needed, %found))
if ne(load i32 (0:ptr)[${wordStop}], 0) { call @wasi_too_large(%scratch) }
call @wasi_limits(%scratch)
call @wasi_answer(%scratch)
}
`;
  }
}
