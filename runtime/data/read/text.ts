/** Readers of text: plain, JSON lines, tables. */
import type { BinarySource } from "../../read.js";
import { aBoolean, aSize, aString, type Checks, either, listOf, oneOf, recordOf } from "../options.js";
import { type Bad, badFile, decodeText, open, type ReadOptions, readChecks } from "./bytes.js";

export interface TextOptions extends ReadOptions {
  /** As `TextDecoder` calls it. Default "utf-8". */
  readonly encoding?: string | undefined;
}
const textChecks: Checks<TextOptions> = { ...readChecks, encoding: aString };

/** The text of a file. */
export async function readText(source: BinarySource, options: TextOptions = {}): Promise<string> {
  return decodeText(await open("text", source, options, textChecks), options.encoding ?? "utf-8");
}

/** The lines of a file, without their ends. What follows the last end is a line only where it is not empty. */
export async function readLines(source: BinarySource, options: TextOptions = {}): Promise<string[]> {
  const lines = (await readText(source, options)).split(/\r\n|\n|\r/);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** A value a line; empty lines do not count. */
export async function readJsonLines<T = unknown>(source: BinarySource, options: TextOptions = {}): Promise<T[]> {
  const file = await open("JSON lines", source, options, textChecks);
  return decodeText(file, options.encoding ?? "utf-8")
    .split("\n")
    .flatMap((line, i): T[] => {
      if (line.trim() === "") return [];
      try {
        return [JSON.parse(line) as T];
      } catch (cause) {
        return badFile(file.name)(`line ${i + 1} is no JSON: ${(cause as Error).message}`, undefined, cause);
      }
    });
}

export type CellType = "number" | "string" | "boolean";
export interface CsvOptions extends TextOptions {
  /** The first record names the columns, or these names do; false: columns have no names, and rows are lists. Default true. */
  readonly header?: boolean | readonly string[] | undefined;
  /** Records to leave out at the beginning, before the header. Default 0. */
  readonly skip?: number | undefined;
  /** Default: a tab where the name ends in .tsv (or .tsv.gz), else a comma. */
  readonly delimiter?: string | undefined;
  /** What surrounds cells with delimiters or ends of lines in them; false: nothing, and quotes are text. Default `"`. */
  readonly quote?: string | false | undefined;
  /** Lines that begin with this are left out. */
  readonly comment?: string | undefined;
  /**
   * By column (its name, or its index where there are none). Of the others, those whose cells are all numbers or missing become numbers;
   * a cell that does not fit the given type is an error.
   */
  readonly types?: Readonly<Record<string, CellType>> | undefined;
  /** Texts that stand for a missing number, which becomes NaN. Default: empty, NA, N/A, NaN, nan, null, ?. */
  readonly missing?: readonly string[] | undefined;
}
const csvChecks: Checks<CsvOptions> = {
  ...textChecks,
  header: either(aBoolean, listOf(aString)),
  skip: aSize,
  delimiter: aString,
  quote: either(aString, oneOf(false)),
  comment: aString,
  types: recordOf(oneOf("number", "string", "boolean")),
  missing: listOf(aString),
};

export type Cell = number | string | boolean;
export type CsvRow = Record<string, Cell>;

/** A table of comma- (or otherwise) separated values (RFC 4180) as rows. @throws ModelError naming record and column */
export function readCsv(source: BinarySource, options: CsvOptions & { readonly header: false }): Promise<Cell[][]>;
export function readCsv(source: BinarySource, options?: CsvOptions): Promise<CsvRow[]>;
export async function readCsv(source: BinarySource, options: CsvOptions = {}): Promise<CsvRow[] | Cell[][]> {
  const file = await open("CSV file", source, options, csvChecks);
  const { header = true, quote = '"', comment, encoding = "utf-8", types = {}, missing = usuallyMissing } = options;
  const bad = badFile(file.name);
  const delimiter = options.delimiter ?? (/\.tsv(\.gz)?$/i.test(file.name) ? "\t" : ",");
  const { default: papa } = await import("papaparse");
  const { data, errors } = papa.parse<string[]>(decodeText(file, encoding), {
    delimiter,
    comments: comment ?? false,
    ...(quote === false ? { fastMode: true } : { quoteChar: quote, fastMode: false }),
  });
  const [error] = errors;
  if (error) bad(`record ${(error.row ?? 0) + 1}: ${error.message}`, quotesHint);
  const records = data
    .map((cells, i) => ({ cells, at: i + 1 }))
    .filter(({ cells }) => cells.length > 1 || cells[0] !== "")
    .slice(options.skip ?? 0);
  const names = header === true ? records.shift()?.cells : header === false ? undefined : header;
  if (header === true && !names) bad("it is empty, and has no header");
  const twice = names?.find((n, i) => names.indexOf(n) !== i);
  if (twice !== undefined) bad(`two columns are called "${twice}"`, "name them: { header: [...] }");
  const width = names?.length ?? records[0]?.cells.length ?? 0;
  for (const { cells, at } of records)
    if (cells.length !== width) bad(`record ${at} has ${cells.length} cells, expected ${width}`, quotesHint);
  const keys = names ?? Array.from({ length: width }, (_, i) => String(i));
  const unknown = Object.keys(types).find((k) => !keys.includes(k));
  if (unknown !== undefined) bad(`there is no column "${unknown}"`, `the columns are: ${keys.join(", ")}`);
  const absent = new Set(missing);
  const convert = keys.map((key, c) => {
    const own = Object.hasOwn(types, key) ? types[key]! : kindOf(records, c, absent);
    return (cell: string, at: number): Cell =>
      cellOf(own, cell, absent, (m) => bad(`record ${at}, column "${key}": ${m}`));
  });
  const rows = records.map(({ cells, at }) => cells.map((cell, c) => convert[c]!(cell, at)));
  return names ? rows.map((row) => Object.fromEntries(row.map((cell, c) => [names[c]!, cell]))) : rows;
}

const usuallyMissing = ["", "NA", "N/A", "NaN", "nan", "null", "?"];
const quotesHint = "check delimiter and quote: { delimiter: ';' }, { quote: false }";
const numeric = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

/** Numbers only where none loses digits: identifiers above 2^53 stay text. */
function kindOf(
  records: readonly { readonly cells: readonly string[] }[],
  column: number,
  missing: ReadonlySet<string>,
): CellType {
  let some = false;
  for (const { cells } of records) {
    const cell = cells[column]!;
    if (missing.has(cell)) continue;
    if (!numeric.test(cell) || (/^\s*[+-]?\d+\s*$/.test(cell) && !Number.isSafeInteger(Number(cell)))) return "string";
    some = true;
  }
  return some ? "number" : "string";
}

function cellOf(type: CellType, cell: string, missing: ReadonlySet<string>, bad: Bad): Cell {
  if (type === "string") return cell;
  if (type === "number") {
    if (missing.has(cell)) return Number.NaN;
    return numeric.test(cell) || /^\s*[+-]?inf(inity)?\s*$/i.test(cell)
      ? numberOf(cell)
      : bad(`${JSON.stringify(cell)} is no number`);
  }
  const text = cell.trim().toLowerCase();
  if (["true", "1", "yes"].includes(text)) return true;
  return ["false", "0", "no"].includes(text) ? false : bad(`${JSON.stringify(cell)} is neither true nor false`);
}

const numberOf = (cell: string): number =>
  /inf/i.test(cell) ? (cell.includes("-") ? -Infinity : Infinity) : Number(cell);
