/** What of an epilogue hangs on the columns alone, so that a kernel computes it once for many rows. */

import { type Point, visitPoints } from "../core/point.js";
import { coefficient } from "../elementwise/loops.js";

/** What of an epilogue is known before the sums. */
export interface EarlyParts {
  /** The largest parts that hang on nothing but the column, and take more than a load. */
  readonly parts: readonly Point[];
  /** Where the sum of integers is first added to such terms: what it is then, and the terms. Wrapping sums may start with them. */
  readonly started?: { readonly sum: Point; readonly terms: readonly Term[] };
}

interface Term {
  readonly point: Point;
  readonly negative: boolean;
}

/** `column`, `others`: the symbols of the loops over columns, and over rows and batch. */
export function earlyParts(root: Point, column: string, others: readonly string[]): EarlyParts {
  const uses = new Map<Point, Point[]>();
  const early = new Map<Point, boolean>();
  let given: Point | undefined;
  visitPoints([root], (p) => {
    if (p.kind === "given") given = p;
    if (p.kind === "apply") for (const a of p.args) uses.set(a, [...(uses.get(a) ?? []), p]);
    const isEarly =
      p.kind === "const" ||
      (p.kind === "load" && others.every((s) => coefficient(p.at, s) === 0)) ||
      (p.kind === "apply" && p.args.every((a) => early.get(a)));
    early.set(p, isEarly);
  });
  const terms: Term[] = [];
  let sum = given;
  while (sum?.dtype === "i32") {
    const [reader, ...more]: readonly Point[] = uses.get(sum) ?? [];
    if (more.length > 0 || reader?.kind !== "apply" || reader.dtype !== "i32") break;
    const [a, b] = reader.args as [Point, Point];
    const { op } = reader.node;
    if (op === "sub" ? a !== sum : op !== "add") break;
    const term: Point = a === sum ? b : a;
    if (!early.get(term) || term.kind === "const") break;
    terms.push({ point: term, negative: op === "sub" });
    sum = reader;
  }
  const taken = new Set(terms.map((t) => t.point));
  const parts: Point[] = [];
  visitPoints([root], (p) => {
    if (!early.get(p) || taken.has(p)) return;
    // A vector of memory is loaded as soon as it would be kept.
    const pays = p.kind === "apply" || (p.kind === "load" && coefficient(p.at, column) === 0);
    if (pays && (uses.get(p) ?? []).some((r) => !early.get(r))) parts.push(p);
  });
  return { parts, ...(terms.length > 0 && sum ? { started: { sum, terms } } : {}) };
}
