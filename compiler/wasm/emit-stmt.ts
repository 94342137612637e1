/** Loop IR statements → wasm statements, and whole functions. */

import type { Expr, LoopFunction, Stmt } from "../../ir/loop.js";
import { FunctionContext, type Helper } from "./emit-context.js";
import { emitExpr } from "./emit-expr.js";
import { emitStore } from "./emit-memory.js";
import { knownCondition } from "./engine.js";
import type { Ref, Variant, WasmModule } from "./module.js";
import { wasmType } from "./opcodes.js";

export function emitFunction(
  module: WasmModule,
  variant: Variant,
  f: LoopFunction,
  results: (fn: string) => LoopFunction["result"],
  need: (helper: Helper) => string,
): void {
  const ctx = new FunctionContext(module, variant, f.params, need);
  const body = emitBody(ctx, f.body, results);
  // Every path returned already; validation wants the end of the body to have the result's type.
  if (f.result !== undefined && f.body.findLast((s) => s.kind !== "comment")?.kind !== "return")
    body.push(module.unreachable());
  module.addFunction(
    f.name,
    f.params.map((p) => wasmType[p.type]),
    f.result === undefined ? undefined : wasmType[f.result],
    ctx.locals,
    module.sequence(body),
  );
}

type Results = (fn: string) => LoopFunction["result"];

function emitBody(ctx: FunctionContext, body: readonly Stmt[], results: Results): Ref[] {
  return ctx.scoped(() => body.flatMap((s) => emitStmt(ctx, s, results)));
}

/** A statement list as one expression. */
function block(ctx: FunctionContext, body: readonly Stmt[], results: Results): Ref {
  return ctx.module.sequence(emitBody(ctx, body, results));
}

function emitStmt(ctx: FunctionContext, s: Stmt, results: Results): Ref[] {
  const m = ctx.module;
  const emit = (e: Expr): Ref => emitExpr(ctx, e);
  switch (s.kind) {
    case "let":
    case "mut": {
      // Emitted before it is bound: the value may not see its own local, which may be a reused one.
      const value = emit(s.value);
      return [ctx.set(ctx.bind(s.name, s.value.type), value)];
    }
    case "assign":
      return [ctx.set(ctx.lookUp(s.name), emit(s.value))];
    case "store":
      return [emitStore(ctx, emit, s)];
    case "for":
      return [emitFor(ctx, s, results)];
    case "while": {
      const label = ctx.label("while");
      const cond = emit(s.cond);
      const body = [...emitBody(ctx, s.body, results), m.br(label)];
      return [m.loop(label, m.if(cond, m.sequence(body)))];
    }
    case "if": {
      const known = knownCondition(ctx.variant, s.cond);
      if (known !== undefined) return emitBody(ctx, known ? s.then : s.else, results);
      const cond = emit(s.cond);
      const then = block(ctx, s.then, results);
      return [s.else.length === 0 ? m.if(cond, then) : m.if(cond, then, block(ctx, s.else, results))];
    }
    case "call": {
      const result = results(s.fn);
      const call = m.call(s.fn, s.args.map(emit), result === undefined ? undefined : wasmType[result]);
      return [result === undefined ? call : m.drop(call)];
    }
    case "copy":
      return [m.op("memory.copy", emit(s.dst), emit(s.src), emit(s.bytes))];
    case "fill":
      return [m.op("memory.fill", emit(s.dst), emit(s.byte), emit(s.bytes))];
    case "barrier": {
      const threads = emit(s.threads);
      if (!ctx.variant.threads) return [m.drop(threads)];
      return [m.call(ctx.need({ kind: "barrier" }), [threads], undefined)];
    }
    case "return":
      return [s.value === undefined ? m.return() : m.return(emit(s.value))];
    case "comment":
      return [];
    default:
      return s satisfies never;
  }
}

/** i = begin; if (i < end) do { body; i += step } while (i < end): one branch per turn. */
function emitFor(ctx: FunctionContext, s: Extract<Stmt, { kind: "for" }>, results: Results): Ref {
  const m = ctx.module;
  return ctx.scoped(() => {
    const begin = emitExpr(ctx, s.begin);
    const beginIsConst = s.begin.kind === "const";
    const statements: Ref[] = [];
    const i = ctx.bind(s.name, "i32");
    statements.push(ctx.set(i, begin));
    // The end is evaluated once; its local has a name that no variable can have.
    let end: () => Ref;
    if (s.end.kind === "const") end = () => emitExpr(ctx, s.end);
    else {
      const local = ctx.bind(`${s.name} end`, "i32");
      statements.push(ctx.set(local, emitExpr(ctx, s.end)));
      end = () => ctx.get(local);
    }
    const label = ctx.label("for");
    const body = [
      ...emitBody(ctx, s.body, results),
      ctx.set(i, m.op("i32.add", ctx.get(i), m.i32(s.step))),
      m.brIf(label, m.op("i32.lt_s", ctx.get(i), end())),
    ];
    const loop = m.loop(label, m.sequence(body));
    const runs = beginIsConst && s.end.kind === "const" && (s.begin.value as number) < (s.end.value as number);
    statements.push(runs ? loop : m.if(m.op("i32.lt_s", ctx.get(i), end()), loop));
    return m.sequence(statements);
  });
}
