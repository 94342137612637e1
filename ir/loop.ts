/**
 * Loop IR: what a kernel DOES. One level above WebAssembly: typed, explicit about memory, vector lanes and accumulators.
 *
 * A `LoopFunction` is a list of statements over one linear memory. Nothing here knows graphs, shapes, layers or opcodes. Scalars live
 * in four kinds of register (i32 i64 f32 f64), addresses in a fifth (`ptr`), which is as wide as the memory of the variant asks for, and
 * 128-bit vectors in typed lanes; how an element is *stored* is the separate type `Elem`, so that an f16 tensor computes in f32 registers.
 *
 * Sizes and indices of elements are i32, distances in bytes are `ptr`: a tensor has fewer than 2^31 elements, but may have more bytes.
 *
 *   function = "func" "@" NAME "(" { "%" NAME ":" type [ "*" elem ] } ")" [ "->" type ] block
 *   block    = "{" { stmt } "}"
 *   stmt     = "let" var "=" expr | "mut" var "=" expr | var "=" expr | "store" access address "=" expr
 *            | "for" var "=" expr "to" expr [ "step" INT ] [ "vectorize" ] block | "while" expr block
 *            | "if" expr block [ "else" block ] | "call" "@" NAME "(" { expr } ")" | "return" [ expr ] | "//" text
 *            | "copy" expr "," expr "," expr | "fill" expr "," expr "," expr | "barrier" expr
 *   expr     = const | var | op "(" { expr } ")" | ("load" | "loadSplat") access address
 *            | "call" type "@" NAME "(" { expr } ")" | splat, extractLane, replaceLane, shuffle, reduceLanes, bitcast
 *   access   = type [ "." elem ]        address = ( var | "(" expr ")" ) "[" expr [ "," "+" INT ] "]"
 *
 * Text form (printer and parser are exact inverses; `docs/IR.md` has the grammar to the letter):
 *
 *   func @relu(%x: ptr *f32, %y: ptr *f32, %n: i32) {
 *     for %i = 0 to %n step 4 {
 *       store f32x4 %y[%i] = max(load f32x4 %x[%i], f32x4(0.0))
 *     }
 *   }
 */

/** How one element lies in memory. `bool` is stored as u8 holding 0 or 1. */
export type Elem = "i8" | "u8" | "i16" | "u16" | "i32" | "u32" | "i64" | "u64" | "f16" | "bf16" | "f32" | "f64";

export const elemBytes: Readonly<Record<Elem, 1 | 2 | 4 | 8>> = {
  i8: 1,
  u8: 1,
  i16: 2,
  u16: 2,
  i32: 4,
  u32: 4,
  i64: 8,
  u64: 8,
  f16: 2,
  bf16: 2,
  f32: 4,
  f64: 8,
};

/**
 * Kinds of a scalar register. Comparison results are masks: i32 0/1 as scalars, all-zeros/all-ones lanes as vectors. `ptr`: a byte
 * address or a distance between two, an i32 or an i64 by the variant.
 */
export type ScalarKind = "i32" | "i64" | "f32" | "f64" | "mask" | "ptr";
/** Kinds of register that elements are computed in. */
export type ElementKind = Exclude<ScalarKind, "ptr">;
/** Lane shapes of a 128-bit vector. The mask kinds name the lane width they were compared at. */
export type VectorKind =
  | "i8x16"
  | "i16x8"
  | "i32x4"
  | "i64x2"
  | "f32x4"
  | "f64x2"
  | "mask8x16"
  | "mask16x8"
  | "mask32x4"
  | "mask64x2";
/** Type of a Loop IR expression. */
export type LoopType = ScalarKind | VectorKind;

export type UnaryOp =
  | "neg"
  | "abs"
  | "sqrt" // float
  | "floor" // float
  | "ceil" // float
  | "trunc" // float
  | "nearest" // float, ties to even
  | "not" // integers: bitwise; masks: logical
  | "clz" // scalar integers
  | "ctz" // scalar integers
  | "popcnt"; // scalar integers, i8x16

/** `…S`/`…U` read integers as signed/unsigned. Float `min`/`max` are IEEE 754-2019 (NaN propagates, −0 < +0); `pmin(a,b)` = b<a?b:a, `pmax(a,b)` = a<b?b:a. */
export type BinaryOp =
  | "add"
  | "sub"
  | "mul"
  | "div" // float
  | "divS" // scalar integers; traps on zero, so lowerings guard it
  | "divU"
  | "remS"
  | "remU"
  | "min" // float; integers use minS/minU
  | "max"
  | "minS"
  | "minU"
  | "maxS"
  | "maxU"
  | "pmin" // float
  | "pmax"
  | "copysign" // float
  | "and" // integers and masks
  | "or"
  | "xor"
  | "shl" // right operand: i32 scalar (also for vectors)
  | "shrS"
  | "shrU"
  | "addSatS" // i8x16, i16x8
  | "addSatU"
  | "subSatS"
  | "subSatU"
  | "avgrU"
  | "dotI16" // i16x8 · i16x8 → i32x4, neighbouring products summed
  | "dotI8" // i8x16 · i8x16 → i32x4, four neighbouring products summed, as `engine.dots` says
  | "narrowS" // two wider vectors → one of half the lane width, saturating
  | "narrowU"
  | "extmulLowS" // i8x16 → i16x8, i16x8 → i32x4, i32x4 → i64x2
  | "extmulHighS"
  | "extmulLowU"
  | "extmulHighU"
  | "q15mulr" // i16x8
  | "swizzle"; // i8x16 by i8x16 indices

export type CompareOp =
  | "eq"
  | "ne"
  | "ltS"
  | "leS"
  | "gtS"
  | "geS"
  | "ltU"
  | "leU"
  | "gtU"
  | "geU"
  | "lt"
  | "le"
  | "gt"
  | "ge"; // lt le gt ge: float

/** Functions of the wasm math library (compiler/wasm/math). The same algorithm serves scalars and lanes, bit for bit. */
export type MathFn =
  | "exp"
  | "expm1"
  | "log"
  | "log1p"
  | "sin"
  | "cos"
  | "tan"
  | "asin"
  | "acos"
  | "atan"
  | "sinh"
  | "cosh"
  | "tanh"
  | "asinh"
  | "acosh"
  | "atanh"
  | "erf"
  | "sigmoid"
  | "pow" // two arguments
  | "atan2" // two arguments
  | "fmod" // two arguments, result has the sign of the dividend
  | "exp2"
  | "log2"
  | "cbrt"
  | "gelu" // exact: x·Φ(x)
  | "geluGrad" // its derivative, Φ(x) + x·φ(x)
  | "lgamma";

/** Conversions between registers. Names follow WebAssembly; scalars and vectors share a name where both exist. `convertResult` in loop-types.ts lists the legal types. */
export type ConvertOp =
  | "f32.from_i32S"
  | "f32.from_i32U"
  | "f32.from_i64S"
  | "f32.from_i64U"
  | "f64.from_i32S" // vector: low two lanes
  | "f64.from_i32U"
  | "f64.from_i64S"
  | "f64.from_i64U"
  | "f64.from_f32" // vector: low two lanes
  | "f32.from_f64" // vector: upper lanes zero
  | "i32.from_f32S" // saturating, NaN → 0
  | "i32.from_f32U"
  | "i32.from_f64S" // vector: upper lanes zero
  | "i32.from_f64U"
  | "i64.from_f32S"
  | "i64.from_f32U"
  | "i64.from_f64S"
  | "i64.from_f64U"
  | "i64.from_i32S"
  | "i64.from_i32U"
  | "i32.from_i64" // wrap
  | "ptr.from_i32S" // a distance
  | "ptr.from_i32U" // an address below 4 GiB
  | "ptr.from_i64"
  | "ptr.from_f64U" // saturating, NaN → 0
  | "i32.extend8S"
  | "i32.extend16S"
  | "i32.from_mask" // 0/1 in each lane of the same width (mask8x16 → i8x16 and so on)
  | "mask.from_i32" // x ≠ 0 (also i8x16, i16x8)
  | "mask.from_i64"
  | "extendLowS" // i8x16 → i16x8, i16x8 → i32x4, i32x4 → i64x2
  | "extendHighS"
  | "extendLowU"
  | "extendHighU"
  | "extaddPairwiseS" // i8x16 → i16x8, i16x8 → i32x4
  | "extaddPairwiseU"
  | "f16.round" // f32 value rounded to the nearest f16 (kept in f32)
  | "bf16.round"
  | "bitcast"; // same width, any kinds; to a mask kind only from lanes that are all zeros or all ones

/** Lanes 32 or 64 bits wide, and masks (and = all, or = any). Float sums and products pair lanes as (l0∘l2)∘(l1∘l3). */
export type ReduceOp = "add" | "mul" | "min" | "max" | "minS" | "minU" | "maxS" | "maxU" | "and" | "or";

/**
 * What a run asks of who started it, each as an i32.
 * - `poll()`: 1 where the run is to leave off here, so that it can go on later. Does not return where it must end.
 * - `reserve(bytes: f64)`: 1 if memory has so many bytes now, having grown if needed; 0 where it may not or can't.
 *
 * Of commands, WASI's (https://github.com/WebAssembly/WASI, preview 1):
 * - `read(file: i32, vectors: ptr, count: i32, done: ptr)` and `write(…)`: fd_read and fd_write, which give an error number or 0.
 * - `exit(code: i32)`: proc_exit. Does not return.
 */
export type HostFn = "poll" | "reserve" | "read" | "write" | "exit";

/**
 * What a module knows of the engine that runs it, or finds out, as an i32.
 * - `fma`: 1 where a multiply-add is one instruction, in the relaxed variant. Branches on it are decided when a variant is emitted.
 * - `dots`: how `dotI8` reads the second operand: 1 without a sign, 2 with one, exactly in both cases. 0: sums of two products may be saturated to
 *   16 bits, as on the baseline, which reads no sign.
 */
export type EngineFact = "fma" | "dots";

export type Expr =
  /** A scalar constant: bigint for i64, number otherwise; f32 values are exactly representable; a mask is 0 or 1, a ptr a safe integer. */
  | { readonly kind: "const"; readonly type: ScalarKind; readonly value: number | bigint }
  /** One value per lane: bigint for i64x2, number otherwise (mask lanes 0 or 1, standing for all-zeros and all-ones). */
  | { readonly kind: "constVector"; readonly type: VectorKind; readonly values: readonly (number | bigint)[] }
  | { readonly kind: "var"; readonly type: LoopType; readonly name: string }
  | { readonly kind: "unary"; readonly type: LoopType; readonly op: UnaryOp; readonly x: Expr }
  | { readonly kind: "binary"; readonly type: LoopType; readonly op: BinaryOp; readonly a: Expr; readonly b: Expr }
  | { readonly kind: "compare"; readonly type: LoopType; readonly op: CompareOp; readonly a: Expr; readonly b: Expr }
  | { readonly kind: "select"; readonly type: LoopType; readonly cond: Expr; readonly a: Expr; readonly b: Expr }
  /** a·b + c. The baseline rounds twice (mul, add); the relaxed variant may fuse. */
  | { readonly kind: "fma"; readonly type: LoopType; readonly a: Expr; readonly b: Expr; readonly c: Expr }
  | { readonly kind: "math"; readonly type: LoopType; readonly fn: MathFn; readonly args: readonly Expr[] }
  | { readonly kind: "convert"; readonly type: LoopType; readonly op: ConvertOp; readonly x: Expr }
  | { readonly kind: "splat"; readonly type: VectorKind; readonly x: Expr }
  | { readonly kind: "extractLane"; readonly type: ScalarKind; readonly lane: number; readonly x: Expr }
  | {
      readonly kind: "replaceLane";
      readonly type: VectorKind;
      readonly lane: number;
      readonly x: Expr;
      readonly value: Expr;
    }
  /** Lanes chosen from the 2·L lanes of a and b (as lanes of `type`). */
  | {
      readonly kind: "shuffle";
      readonly type: VectorKind;
      readonly a: Expr;
      readonly b: Expr;
      readonly lanes: readonly number[];
    }
  | { readonly kind: "reduceLanes"; readonly type: ScalarKind; readonly op: ReduceOp; readonly x: Expr }
  /**
   * Element `base + (index + offset)·elemBytes`, base a ptr, index an i32. A scalar type loads one element and widens it to the register kind (f16/bf16
   * to f32, small integers to i32). A vector type loads as many elements as it has lanes, widening likewise: u8 as i32x4 reads
   * 4 bytes. `splat` loads ONE element into all lanes. `loadElems` in loop-types.ts lists the legal pairs.
   *
   * `offset` is a constant ≥ 0 that becomes the instruction's immediate; `base + index·elemBytes` must by itself be an address
   * ≥ 0, because wasm adds the immediate without wrapping.
   */
  | {
      readonly kind: "load";
      readonly type: LoopType;
      readonly elem: Elem;
      readonly base: Expr;
      readonly index: Expr;
      readonly offset: number;
      readonly splat?: boolean;
    }
  | { readonly kind: "host"; readonly type: "i32"; readonly fn: HostFn; readonly args: readonly Expr[] }
  /** The same number whenever it is asked for. Always 0 on the baseline. */
  | { readonly kind: "engine"; readonly type: "i32"; readonly fact: EngineFact }
  /** Call of another LoopFunction that returns a value. */
  | { readonly kind: "call"; readonly type: LoopType; readonly fn: string; readonly args: readonly Expr[] };

export type Stmt =
  /** Immutable binding. */
  | { readonly kind: "let"; readonly name: string; readonly value: Expr }
  /** Mutable register (an accumulator) with its first value. */
  | { readonly kind: "mut"; readonly name: string; readonly value: Expr }
  | { readonly kind: "assign"; readonly name: string; readonly value: Expr }
  /** Narrows to `elem` (f16/bf16 round to nearest even; integers wrap). A vector value stores all its lanes. */
  | {
      readonly kind: "store";
      readonly elem: Elem;
      readonly base: Expr;
      readonly index: Expr;
      readonly offset: number;
      readonly value: Expr;
    }
  /**
   * for name = begin; name < end (signed i32); name += step (a positive constant). `vectorize` asks the pass of that name
   * to widen a step-1 loop whose iterations are independent apart from reductions into `mut` registers.
   */
  | {
      readonly kind: "for";
      readonly name: string;
      readonly begin: Expr;
      readonly end: Expr;
      readonly step: number;
      readonly vectorize?: boolean;
      readonly body: readonly Stmt[];
    }
  | { readonly kind: "while"; readonly cond: Expr; readonly body: readonly Stmt[] }
  | { readonly kind: "if"; readonly cond: Expr; readonly then: readonly Stmt[]; readonly else: readonly Stmt[] }
  | { readonly kind: "call"; readonly fn: string; readonly args: readonly Expr[] }
  /** memmove; all three are ptr. */
  | { readonly kind: "copy"; readonly dst: Expr; readonly src: Expr; readonly bytes: Expr }
  /** `dst` and `bytes` are ptr, `byte` an i32. */
  | { readonly kind: "fill"; readonly dst: Expr; readonly byte: Expr; readonly bytes: Expr }
  /**
   * Waits until all `threads` (i32) threads of the SPMD team have come here; what they stored before is then visible to all.
   * Every thread must reach it. A no-op in single-threaded variants and when `threads` is 1.
   */
  | { readonly kind: "barrier"; readonly threads: Expr }
  | { readonly kind: "return"; readonly value?: Expr }
  /** Why the next statement is there; survives printing. */
  | { readonly kind: "comment"; readonly text: string };

export interface LoopParam {
  readonly name: string;
  readonly type: LoopType;
  /** Set for pointers: what they point to. Documentation for readers and the printer. */
  readonly points?: Elem;
}

/** One kernel or helper. `name` says what it is in XNNPACK's manner: `f32_gemm_bias_relu_4x8`. Names of variables do not shadow one another. */
export interface LoopFunction {
  readonly name: string;
  readonly params: readonly LoopParam[];
  readonly result?: LoopType;
  readonly body: readonly Stmt[];
}

/** A set of functions that may call one another by name. */
export interface LoopModule {
  readonly functions: readonly LoopFunction[];
}
