/**
 * Small hand-written modules that follow the ABI of runtime/format.ts, so that the runtime is tested without the compiler.
 */
import binaryen from "binaryen";
import { sealArtifact } from "../../runtime/encode.js";
import {
  type ArtifactParts,
  type EntryInfo,
  type ManifestDraft,
  type VariantId,
  wordPoll,
} from "../../runtime/format.js";
import { writeSafetensors } from "../../runtime/safetensors.js";
import { bytesOf } from "../../runtime/tensor.js";

const weightsOffset = 512;
const stateOffset = 1024;
const arenaOffset = 2048;
const minPages = 1;
const maxPages = 65536;

function assemble(body: string, threaded: boolean): Uint8Array {
  const shared = threaded ? " shared" : "";
  const barrier = threaded
    ? `(global $can_block (export "can_block") (mut i32) (i32.const 0))
  (func $barrier (param $threads i32) (local $g i32)
    (local.set $g (i32.atomic.load (i32.const 4)))
    (if (i32.atomic.load (i32.const 8)) (then (unreachable)))
    (if (i32.eq (i32.atomic.rmw.add (i32.const 0) (i32.const 1)) (i32.sub (local.get $threads) (i32.const 1)))
      (then
        (i32.atomic.store (i32.const 0) (i32.const 0))
        (drop (i32.atomic.rmw.add (i32.const 4) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 4) (i32.const -1))))
      (else
        (loop $spin
          (if (i32.eq (i32.atomic.load (i32.const 4)) (local.get $g))
            (then
              (if (global.get $can_block)
                (then (drop (memory.atomic.wait32 (i32.const 4) (local.get $g) (i64.const -1)))))
              (br $spin))))))
    (if (i32.atomic.load (i32.const 8)) (then (unreachable))))
  (func $poll (result i32) (i32.const 0))`
    : `(import "env" "poll" (func $ask (result i32)))
  (func $poll (result i32) (if (i32.load (i32.const ${4 * wordPoll})) (then (return (call $ask)))) (i32.const 0))
  (func $barrier (param $threads i32))`;
  const text = `(module
  (import "env" "memory" (memory ${minPages} ${maxPages}${shared}))
  ${barrier}
  ${body})`;
  const module = binaryen.parseText(text);
  const f = binaryen.Features;
  module.setFeatures(f.MVP | f.MutableGlobals | f.BulkMemory | f.SignExt | (threaded ? f.Atomics : 0));
  if (!module.validate()) throw new Error("the fixture is not valid");
  const bytes = module.emitBinary();
  module.dispose();
  return bytes;
}

/** Slots of `main`: 0 n, 1 address of x, 2 of y, 3 of z, 4 elements (n·3), 5 how many x are positive, 6 2n, 7 address of p. */
const mainBody = `
  (func (export "plan_main") (result i32) (local $bytes i64)
    (local.set $bytes (i64.and (i64.add (i64.mul (i64.load32_u (i32.const 256)) (i64.const 12)) (i64.const 63)) (i64.const -64)))
    (if (i64.gt_u (local.get $bytes) (i64.const 1000000000)) (then (return (i32.const -1))))
    (i32.store (i32.const 260) (i32.const ${arenaOffset}))
    (i32.store (i32.const 264) (i32.add (i32.const ${arenaOffset}) (i32.wrap_i64 (local.get $bytes))))
    (i32.store (i32.const 268) (i32.add (i32.load (i32.const 264)) (i32.wrap_i64 (local.get $bytes))))
    (i32.store (i32.const 272) (i32.mul (i32.load (i32.const 256)) (i32.const 3)))
    (i32.store (i32.const 280) (i32.mul (i32.load (i32.const 256)) (i32.const 2)))
    (i32.store (i32.const 284) (i32.add (i32.load (i32.const 268)) (i32.wrap_i64 (local.get $bytes))))
    (i32.add (i32.load (i32.const 284)) (i32.wrap_i64 (local.get $bytes))))
  ;; Step 0: y = x·weights[0] + weights[1]. Step 1: z[i] = y[i] + y[N−1−i]. Step 2: the positive x, on one thread.
  ;; Later steps: about a millisecond of nothing.
  (func $step (param $s i32) (param $tid i32) (param $threads i32)
    (local $i i32) (local $n i32) (local $x i32) (local $y i32) (local $z i32) (local $count i32)
    (local.set $x (i32.load (i32.const 260)))
    (local.set $y (i32.load (i32.const 264)))
    (local.set $z (i32.load (i32.const 268)))
    (local.set $n (i32.load (i32.const 272)))
    (if (i32.eq (local.get $s) (i32.const 2))
      (then
        (if (i32.eqz (local.get $tid))
          (then
            (block $done (loop $each
              (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
              (if (f32.gt (f32.load (i32.add (local.get $x) (i32.shl (local.get $i) (i32.const 2)))) (f32.const 0))
                (then
                  (f32.store (i32.add (i32.load (i32.const 284)) (i32.shl (local.get $count) (i32.const 2)))
                    (f32.load (i32.add (local.get $x) (i32.shl (local.get $i) (i32.const 2)))))
                  (local.set $count (i32.add (local.get $count) (i32.const 1)))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $each)))
            (i32.store (i32.const 276) (local.get $count))))
        (return)))
    (if (i32.gt_u (local.get $s) (i32.const 2))
      (then
        (local.set $i (i32.load (i32.const ${weightsOffset + 8})))
        (loop $spin
          (local.set $count (i32.add (local.get $count) (i32.mul (local.get $i) (local.get $count))))
          (br_if $spin (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (i32.store (i32.const ${weightsOffset + 12}) (local.get $count))
        (return)))
    ;; 1234 makes thread 0 trap, 1235 thread 1.
    (if (f32.eq (f32.load (local.get $x)) (f32.convert_i32_s (i32.add (local.get $tid) (i32.const 1234)))) (then (unreachable)))
    (block $done (loop $each
      (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
      (if (i32.eq (i32.rem_u (i32.div_u (local.get $i) (i32.const 4)) (local.get $threads)) (local.get $tid))
        (then
          (if (local.get $s)
            (then
              (f32.store (i32.add (local.get $z) (i32.shl (local.get $i) (i32.const 2)))
                (f32.add
                  (f32.load (i32.add (local.get $y) (i32.shl (local.get $i) (i32.const 2))))
                  (f32.load (i32.add (local.get $y) (i32.shl (i32.sub (i32.sub (local.get $n) (local.get $i)) (i32.const 1)) (i32.const 2)))))))
            (else
              (f32.store (i32.add (local.get $y) (i32.shl (local.get $i) (i32.const 2)))
                (f32.add
                  (f32.mul (f32.load (i32.add (local.get $x) (i32.shl (local.get $i) (i32.const 2)))) (f32.load (i32.const ${weightsOffset})))
                  (f32.load (i32.const ${weightsOffset + 4}))))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $each))))
  (func (export "run_main") (param $tid i32) (param $threads i32) (param $begin i32) (param $end i32) (result i32)
    (block $done (loop $each
      (br_if $done (i32.ge_u (local.get $begin) (local.get $end)))
      (call $step (local.get $begin) (local.get $tid) (local.get $threads))
      (call $barrier (local.get $threads))
      (local.set $begin (i32.add (local.get $begin) (i32.const 1)))
      (br_if $done (call $poll))
      (br $each)))
    (local.get $begin))`;

const memory = {
  tableOffset: 256,
  tableSlots: 16,
  weightsOffset,
  weightsBytes: 16,
  stateOffset,
  stateBytes: 0,
  preparedOffset: 1536,
  preparedFlags: 0,
  arenaOffset,
  minPages,
  maxPages,
  maxThreads: 16,
} as const;

export interface MainOptions {
  readonly name?: string;
  readonly variants?: readonly VariantId[];
  /** Steps of about `spin` iterations each behind the three that compute. */
  readonly idleSteps?: number;
  readonly spin?: number;
  readonly maxN?: number | null;
  /** Bytes of weights that nothing reads. */
  readonly padding?: number;
}

/** y = x·2 + 1 over x: f32[n, 3]; z[i] = y[i] + y[N−1−i]; p = the positive x. */
export function mainArtifact(options: MainOptions = {}): Promise<ArtifactParts> {
  const { name = "affine", variants = ["simd128", "simd128-threads"], idleSteps = 0, spin = 1, maxN = null } = options;
  const { padding = 0 } = options;
  const n = { dim: "n", slot: 0 } as const;
  const tensor = (id: string, slot: number) => ({ name: id, dtype: "f32", shape: [n, 3], offset: { slot } }) as const;
  const main: EntryInfo = {
    dims: [{ name: "n", min: 0, max: maxN, slot: 0 }],
    inputs: [tensor("x", 1)],
    outputs: [
      tensor("y", 2),
      tensor("z", 3),
      { name: "p", dtype: "f32", shape: [{ dim: "positive", slot: 5 }], offset: { slot: 7 } },
    ],
    steps: Array.from({ length: 3 + idleSteps }, (_, i) => ({ name: `layer${i}`, kernel: "f32_fixture" })),
    mutatesFrom: 3 + idleSteps,
    maxBytes: maxN === null ? null : arenaOffset + 4 * (maxN * 12 + 64),
    limits: [],
  };
  const data = bytesOf(Float32Array.of(2, 1, 0, 0));
  new DataView(data.buffer).setInt32(8, spin, true);
  const unread = { name: "unread", dtype: "u8", shape: [padding], data: new Uint8Array(padding) } as const;
  const weights = writeSafetensors([{ name: "affine", dtype: "f32", shape: [4], data }, ...(padding ? [unread] : [])], {
    align: 64,
  });
  const draft: ManifestDraft = {
    producer: "test 0",
    name,
    memory,
    state: [],
    entries: { main },
    training: null,
    sources: ["a test"],
  };
  const wasm = Object.fromEntries(variants.map((id) => [id, assemble(mainBody, id.endsWith("threads"))]));
  return sealArtifact(draft, wasm, weights);
}

/** What `mainArtifact` computes. */
export function mainExpected(x: Float32Array): { y: Float32Array; z: Float32Array; p: Float32Array } {
  const y = x.map((v) => Math.fround(v * 2) + 1);
  return { y, z: y.map((v, i) => v + y[y.length - 1 - i]!), p: x.filter((v) => v > 0) };
}

/**
 * Linear regression with SGD, single-threaded in all variants (thread 0 does it all). State: w f32[2] at 1024, lr f32 at
 * 1032, steps i64 at 1040. Slots: batch of step, evaluate, predict. y or p at 4096, x at 69632.
 */
const trainBody = `
  (func $plan (param $slot i32) (result i32)
    (i32.add (i32.const 69632) (i32.shl (i32.load (local.get $slot)) (i32.const 3))))
  (func (export "plan_step") (result i32) (call $plan (i32.const 256)))
  (func (export "plan_evaluate") (result i32) (call $plan (i32.const 260)))
  (func (export "plan_predict") (result i32) (call $plan (i32.const 264)))
  (func $pred (param $i i32) (result f32) (local $x i32)
    (local.set $x (i32.add (i32.const 69632) (i32.shl (local.get $i) (i32.const 3))))
    (f32.add
      (f32.mul (f32.load (local.get $x)) (f32.load (i32.const 1024)))
      (f32.mul (f32.load offset=4 (local.get $x)) (f32.load (i32.const 1028)))))
  (func $measure (param $n i32) (param $rate f32)
    (local $i i32) (local $e f32) (local $se f32) (local $ae f32) (local $g0 f32) (local $g1 f32)
    (block $done (loop $each
      (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
      (local.set $e (f32.sub (call $pred (local.get $i)) (f32.load offset=4096 (i32.shl (local.get $i) (i32.const 2)))))
      (local.set $se (f32.add (local.get $se) (f32.mul (local.get $e) (local.get $e))))
      (local.set $ae (f32.add (local.get $ae) (f32.abs (local.get $e))))
      (local.set $g0 (f32.add (local.get $g0) (f32.mul (local.get $e) (f32.load offset=69632 (i32.shl (local.get $i) (i32.const 3))))))
      (local.set $g1 (f32.add (local.get $g1) (f32.mul (local.get $e) (f32.load offset=69636 (i32.shl (local.get $i) (i32.const 3))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $each)))
    (f32.store (i32.const 2048) (f32.div (local.get $se) (f32.convert_i32_u (local.get $n))))
    (f32.store (i32.const 2052) (f32.div (local.get $ae) (f32.convert_i32_u (local.get $n))))
    (local.set $rate (f32.div (f32.mul (local.get $rate) (f32.const 2)) (f32.convert_i32_u (local.get $n))))
    (f32.store (i32.const 1024) (f32.sub (f32.load (i32.const 1024)) (f32.mul (local.get $rate) (local.get $g0))))
    (f32.store (i32.const 1028) (f32.sub (f32.load (i32.const 1028)) (f32.mul (local.get $rate) (local.get $g1)))))
  (func (export "run_step") (param $tid i32) (param $threads i32) (param $begin i32) (param $end i32) (result i32)
    (if (i32.eqz (local.get $tid))
      (then
        (call $measure (i32.load (i32.const 256)) (f32.load (i32.const 1032)))
        (i64.store (i32.const 1040) (i64.add (i64.load (i32.const 1040)) (i64.const 1)))))
    (local.get $end))
  (func (export "run_evaluate") (param $tid i32) (param $threads i32) (param $begin i32) (param $end i32) (result i32)
    (if (i32.eqz (local.get $tid)) (then (call $measure (i32.load (i32.const 260)) (f32.const 0))))
    (local.get $end))
  (func (export "run_predict") (param $tid i32) (param $threads i32) (param $begin i32) (param $end i32) (result i32)
    (local $i i32)
    (if (local.get $tid) (then (return (local.get $end))))
    (block $done (loop $each
      (br_if $done (i32.ge_u (local.get $i) (i32.load (i32.const 264))))
      (f32.store offset=4096 (i32.shl (local.get $i) (i32.const 2)) (call $pred (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $each)))
    (local.get $end))`;

export function trainArtifact(variants: readonly VariantId[] = ["simd128", "simd128-threads"]): Promise<ArtifactParts> {
  const batch = (slot: number) => ({ dim: "batch", slot });
  const scalar = (name: string, offset: number) => ({ name, dtype: "f32", shape: [], offset }) as const;
  const entry = (slot: number, measures: boolean): EntryInfo => ({
    dims: [{ name: "batch", min: 1, max: 1000, slot }],
    inputs: [
      { name: "x", dtype: "f32", shape: [batch(slot), 2], offset: 69632 },
      ...(measures ? ([{ name: "y", dtype: "f32", shape: [batch(slot)], offset: 4096 }] as const) : []),
    ],
    outputs: measures
      ? [scalar("loss", 2048), scalar("mae", 2052)]
      : [{ name: "p", dtype: "f32", shape: [batch(slot)], offset: 4096 }],
    steps: [{ name: "regression", kernel: "f32_fixture" }],
    mutatesFrom: slot === 0 ? 0 : 1,
    maxBytes: 69632 + 8000,
    limits: [],
  });
  const f32 = (...values: number[]): Uint8Array => bytesOf(Float32Array.from(values));
  const weights = writeSafetensors(
    [
      { name: "linear.weight", dtype: "f32", shape: [2], data: f32(0.5, -0.5) },
      { name: "lr", dtype: "f32", shape: [], data: f32(0.1) },
    ],
    { align: 64 },
  );
  const draft: ManifestDraft = {
    producer: "test 0",
    name: "regression",
    memory: { ...memory, weightsBytes: 0, stateBytes: 64 },
    state: [
      { name: "linear.weight", dtype: "f32", shape: [2], role: "param", offset: 1024, init: 0 },
      { name: "lr", dtype: "f32", shape: [], role: "hyper", offset: 1032, init: 64 },
      { name: "steps", dtype: "i64", shape: [], role: "counter", offset: 1040, init: null },
    ],
    entries: { step: entry(0, true), evaluate: entry(1, true), predict: entry(2, false) },
    training: {
      objectives: [
        {
          entry: "step",
          name: "sgd",
          optimizer: { name: "sgd", options: { lr: 0.1 } },
          learningRate: "lr",
          stepCounter: "steps",
        },
      ],
      fit: {
        step: "step",
        evaluate: "evaluate",
        predict: "predict",
        loss: "loss",
        metrics: ["mae"],
        streamed: null,
        batch: "batch",
      },
      rng: null,
    },
    sources: [],
  };
  const wasm = Object.fromEntries(variants.map((id) => [id, assemble(trainBody, id.endsWith("threads"))]));
  return sealArtifact(draft, wasm, weights);
}
