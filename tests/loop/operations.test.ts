import { describe, expect, it } from "vitest";
import type { Expr, LoopFunction, LoopType, Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { interpretLoop } from "../../ir/loop-interpret.js";
import { printExpr } from "../../ir/loop-print.js";
import { isVector, laneInfo, loadElems, scalarOf } from "../../ir/loop-types.js";
import { instantiate } from "../wasm/run.js";
import { everyConstant, everyLoad, everyOperation } from "./samples.js";

/** Operands lie at these addresses, 16 bytes apart; results from `out` on. */
const [operands, out, scratch, size] = [1024, 8192, 65536, 16 * 65536];

const types = Object.keys(loadElems) as LoopType[];
const slotOf = (type: LoopType, k: number): number => types.indexOf(type) * 3 + k;

/** A register of any type, loaded from its slot; masks compare integers. */
function operand(type: LoopType, k: number): Expr {
  const base = B.ptr(operands + 16 * slotOf(type, k));
  const scalar = scalarOf(type);
  if (type === "ptr") return B.convert("ptr.from_i32S", B.load("i32", "i32", base, 0));
  if (scalar === "mask") {
    if (!isVector(type)) return B.ltS(B.load("i32", "i32", base, 0), 0);
    const ints = { 1: "i8x16", 2: "i16x8", 4: "i32x4", 8: "i64x2" } as const;
    const vector = ints[laneInfo[type].laneBytes];
    return B.ltS(B.load(vector, loadElems[vector][0]!, base, 0), 0);
  }
  return B.load(type, loadElems[type][0]!, base, 0);
}

/** Stores a result to its 16 bytes; masks as integers. */
function storeResult(e: Expr, k: number): Stmt {
  const base = B.ptr(out + 16 * k);
  // Addresses can't be stored: bit by bit they are compared.
  const bits = () =>
    [...Array(32).keys()].map((bit) => B.select(B.ltU(B.mul(e, 2 ** (31 - bit)), B.ptr(-(2 ** 31))), 0, 2 ** bit));
  const x =
    e.type === "ptr"
      ? bits().reduce((a, b) => B.add(a, b))
      : scalarOf(e.type) === "mask"
        ? B.convert("i32.from_mask", e)
        : e;
  return B.store(loadElems[x.type][0]!, base, 0, x);
}

const interesting = [0, 1, -1, 2, 7, -7, 31, 33, 127, -128, 255, 32767, -32768, 65535, 2 ** 31 - 1, -(2 ** 31)];
const reals = [0, -0, 0.5, 1, -1.5, 2.5, 3.5, 1e-40, 1e10, -1e20, 3e38, 65504, 65520, 5.9e-8, Infinity, -Infinity, NaN];

function fillOperands(memory: ArrayBuffer, seed: number): void {
  const view = new DataView(memory);
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const pick = (list: readonly number[]): number => list[Math.floor(random() * list.length)] as number;
  for (const type of types)
    for (let k = 0; k < 3; k++) {
      const at = operands + 16 * slotOf(type, k);
      const kind = scalarOf(type);
      for (let b = 0; b < 16; b += 8) {
        if (kind === "f64")
          view.setFloat64(at + b, random() < 0.5 ? pick(reals) : (random() - 0.5) * 2 ** (random() * 200 - 100), true);
        else if (kind === "f32") {
          for (let h = 0; h < 8; h += 4)
            view.setFloat32(
              at + b + h,
              random() < 0.5 ? pick(reals) : (random() - 0.5) * 2 ** (random() * 60 - 30),
              true,
            );
        } else if (kind === "i64")
          view.setBigInt64(
            at + b,
            random() < 0.5 ? BigInt(pick(interesting)) : BigInt(Math.floor(random() * 2 ** 53)) * 4099n,
            true,
          );
        else
          for (let h = 0; h < 8; h += 4)
            view.setInt32(at + b + h, random() < 0.5 ? pick(interesting) : random() * 2 ** 32, true);
      }
    }
  for (let k = 0; k < 512; k++) view.setUint8(scratch + k, random() * 256);
}

const dividing = new Set(["divS", "divU", "remS", "remU"]);

/** Bit for bit, but that any NaN equals any other. */
function expectSame(type: LoopType, text: string, wasm: DataView, interpreted: DataView, at: number): void {
  const scalar = scalarOf(type);
  for (let b = 0; b < 16; b += scalar === "f64" ? 8 : 4) {
    if (scalar === "f64" || scalar === "f32") {
      const read = (v: DataView) => (scalar === "f64" ? v.getFloat64(at + b, true) : v.getFloat32(at + b, true));
      expect(read(wasm), text).toBe(read(interpreted));
    } else expect(wasm.getInt32(at + b, true), text).toBe(interpreted.getInt32(at + b, true));
  }
}

function compare(values: readonly Expr[], seeds: number): void {
  const f: LoopFunction = B.func("f", [], values.map(storeResult));
  const run = instantiate([f], ["f"]);
  for (let seed = 1; seed <= seeds; seed++) {
    fillOperands(run.memory.buffer, seed);
    const copy = new ArrayBuffer(size);
    new Uint8Array(copy).set(new Uint8Array(run.memory.buffer));
    run.call("f");
    interpretLoop({ functions: [f] }, "f", [], { memory: copy });
    const [a, b] = [new DataView(run.memory.buffer), new DataView(copy)];
    for (const [k, e] of values.entries()) expectSame(e.type, `${printExpr(e)}, seed ${seed}`, a, b, out + 16 * k);
  }
}

describe("interpreter and emitted wasm agree", () => {
  it("on every operation", () => {
    const all = everyOperation(operand).filter((e) => {
      // NaN's sign and payload are not defined, and division by zero traps: both have tests of their own.
      if (e.kind === "binary" && (dividing.has(e.op) || e.op === "copysign")) return false;
      // Lanes that are neither all zeros nor all ones are no mask.
      if (e.kind === "convert" && e.op === "bitcast" && e.type.startsWith("mask")) return false;
      return !(e.kind === "convert" && e.op === "bitcast" && /f/.test(e.x.type) && !/f/.test(e.type));
    });
    compare(all, 40);
  });

  it("on integer division", () => {
    const divisors = [1, -1, 2, -3, 7, 2 ** 31 - 1];
    const all = (["divS", "divU", "remS", "remU"] as const).flatMap((op) =>
      divisors.flatMap((d) => [
        B.binary(op, B.and(operand("i32", 0), 2 ** 31 - 1), d),
        B.binary(op, B.shrS(operand("i64", 0), 1), d),
      ]),
    );
    compare(all, 20);
  });

  it("on copysign and bitcasts of numbers", () => {
    const all = (["f32", "f64", "f32x4", "f64x2"] as const).flatMap((type) => {
      const number = (k: number) => B.select(B.eq(operand(type, k), operand(type, k)), operand(type, k), 1);
      const to = { f32: "i32", f64: "i64", f32x4: "i32x4", f64x2: "i64x2" } as const;
      return [B.copysign(number(0), number(1)), B.bitcast(to[type], number(0))];
    });
    compare(all, 20);
  });

  it("on every load and constant", () => {
    compare(everyConstant(), 1);
    compare(everyLoad(B.ptr(scratch), operand("i32", 2).kind === "load" ? B.i32(5) : B.i32(0)), 20);
    const index = B.and(operand("i32", 0), 15);
    compare(everyLoad(B.add(B.ptr(scratch), B.and(operand("i32", 1), 8)), B.sub(index, 2), 4), 20);
  });

  it("on every store", () => {
    for (const type of types)
      for (const elem of loadElems[type]) {
        const f = B.func("f", [], [B.store(elem, B.ptr(out), B.and(operand("i32", 0), 7), operand(type, 0), 3)]);
        const run = instantiate([f], ["f"]);
        for (let seed = 1; seed <= 10; seed++) {
          fillOperands(run.memory.buffer, seed);
          new Uint8Array(run.memory.buffer, out, 512).fill(0xaa);
          const copy = run.memory.buffer.slice(0);
          run.call("f");
          interpretLoop({ functions: [f] }, "f", [], { memory: copy });
          const [a, b] = [new DataView(run.memory.buffer), new DataView(copy)];
          const name = `store of ${type} as ${elem}, seed ${seed}`;
          for (let at = out; at < out + 256; at += 2) {
            const [x, y] = [a.getUint16(at, true), b.getUint16(at, true)];
            const nan = (h: number) =>
              elem === "f16"
                ? (h & 0x7c00) === 0x7c00 && (h & 0x3ff) !== 0
                : (h & 0x7f80) === 0x7f80 && (h & 0x7f) !== 0;
            if (x !== y && !((elem === "f16" || elem === "bf16") && nan(x) && nan(y)) && !hasNaN(elem, a, at))
              expect(x, name).toBe(y);
          }
        }
      }
  });
});

/** Whether the float element that covers an address is NaN, whose bits may differ. */
function hasNaN(elem: string, view: DataView, at: number): boolean {
  if (elem === "f32") return Number.isNaN(view.getFloat32(at - (at % 4), true));
  return elem === "f64" && Number.isNaN(view.getFloat64(at - (at % 8), true));
}

describe("half precision", () => {
  it("widens all bit patterns and narrows what lies between them", () => {
    for (const elem of ["f16", "bf16"] as const) {
      const n = { name: "n", type: "i32" } as const;
      const widen = B.func(
        "widen",
        [n],
        [
          B.forLoop("i", 0, B.v("n", "i32"), 4, (i) => [
            B.store("f32", B.ptr(262144), i, B.load("f32x4", elem, B.ptr(0), i)),
          ]),
        ],
      );
      const narrow = B.func(
        "narrow",
        [n],
        [
          B.forLoop("i", 0, B.v("n", "i32"), 1, (i) => [
            B.store(elem, B.ptr(0), i, B.load("f32", "f32", B.ptr(262144), i)),
          ]),
        ],
      );
      const run = instantiate([widen, narrow], ["widen", "narrow"]);
      const half = new Uint16Array(run.memory.buffer, 0, 65536);
      for (let k = 0; k < 65536; k++) half[k] = k;
      run.call("widen", 65536);
      const single = new Float32Array(run.memory.buffer, 262144, 65536);
      const values = single.slice();
      half.fill(0);
      run.call("narrow", 65536);
      for (let k = 0; k < 65536; k++) if (!Number.isNaN(values[k]!)) expect(half[k], `${elem} ${k}`).toBe(k);
      // Halfway between neighbours goes to the even one.
      const infinity = elem === "f16" ? 0x7c00 : 0x7f80;
      for (let k = 0; k < infinity - 1; k++) single[k] = (values[k]! + values[k + 1]!) / 2;
      run.call("narrow", infinity - 1);
      for (let k = 0; k < infinity - 1; k++)
        expect(half[k], `${elem} halfway above ${k}`).toBe(k % 2 === 0 ? k : k + 1);
    }
  });
});
