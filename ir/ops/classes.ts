/** Kinds of primitives that fusion and lowering treat alike. */

/** One result element from the operand elements at the same index. */
export const elementwiseNames = [
  "add",
  "sub",
  "mul",
  "div",
  "rem",
  "pow",
  "min",
  "max",
  "atan2",
  "neg",
  "abs",
  "sign",
  "floor",
  "ceil",
  "trunc",
  "round",
  "sqrt",
  "exp",
  "expm1",
  "log",
  "log1p",
  "sin",
  "cos",
  "tan",
  "asin",
  "acos",
  "atan",
  "sinh",
  "cosh",
  "tanh",
  "asinh",
  "acosh",
  "atanh",
  "erf",
  "sigmoid",
  "geluExact",
  "geluExactGrad",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
  "select",
  "and",
  "or",
  "xor",
  "not",
  "shiftLeft",
  "shiftRight",
  "cast",
  "bitcast",
] as const;

/** Each result element is one operand element at an index computed from the result's. */
export const indexNames = ["reshape", "transpose", "broadcast", "slice"] as const;

/** An associative combination along axes. */
export const reduceNames = ["sum", "prod", "reduceMin", "reduceMax", "any", "all"] as const;

export type ElementwiseName = (typeof elementwiseNames)[number];
export type IndexName = (typeof indexNames)[number];
export type ReduceName = (typeof reduceNames)[number];

const elementwise: ReadonlySet<string> = new Set(elementwiseNames);
const index: ReadonlySet<string> = new Set(indexNames);
const reduce: ReadonlySet<string> = new Set(reduceNames);

export const isElementwise = (op: string): op is ElementwiseName => elementwise.has(op);
export const isIndexOp = (op: string): op is IndexName => index.has(op);
export const isReduce = (op: string): op is ReduceName => reduce.has(op);
