/** Rotary position embedding as most exporters write it: x · cos + rotated x · sin, with the angles of a half stated twice. */

import { sliceAxis } from "../../ir/build.js";
import { dimEqual } from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import type { Value } from "../../ir/graph.js";
import { remake } from "../../ir/graph-rebuild.js";
import { rotary } from "../../ir/ops/attention.js";
import { isElementwise } from "../../ir/ops/classes.js";
import { gather } from "../../ir/ops/indexing.js";
import { broadcast, reshape, slice, transpose } from "../../ir/ops/movement.js";
import type { Tensor } from "../../ir/tensor.js";
import { node, type Rule, rule } from "../pattern.js";

/** Whether both halves of each row are the same. */
function repeatsRows({ shape, data }: Tensor, half: number): boolean {
  const row = shape.at(-1)!;
  for (let i = 0; i < data.length; i += row) {
    for (let j = 0; j < half; j++) if (!Object.is(data[i + j], data[i + j + half])) return false;
  }
  return true;
}

/** The first half of v along its last axis, of 2 · half elements, where the second is known to be the same. */
function equalHalf(v: Value, half: number, depth = 12): Value | undefined {
  const { shape } = v.type;
  const last = shape.length - 1;
  const { def } = v;
  if (def.op === "param" || depth === 0 || shape[last] !== 2 * half) return undefined;
  const halved = [...shape.slice(0, -1), half];
  const inner = (x: Value) => equalHalf(x, half, depth - 1);
  const x = def.operands[0]!;
  switch (def.op) {
    case "constant":
      return repeatsRows(def.attrs.value, half) ? sliceAxis(v, last, 0, half) : undefined;
    case "concat":
      return def.attrs.axis === last && def.operands.length === 2 && def.operands[1] === x ? x : undefined;
    case "broadcast": {
      const at = def.attrs.axes.indexOf(last);
      const source = at < 0 || x.type.shape[at] === 1 ? x : inner(x);
      return source && broadcast([source], { shape: halved, axes: def.attrs.axes });
    }
    case "reshape": {
      const source = inner(x);
      return source && reshape([source], { shape: halved });
    }
    case "transpose": {
      const source = def.attrs.perm[last] === last ? inner(x) : undefined;
      return source && transpose([source], def.attrs);
    }
    case "slice": {
      const { starts, sizes, steps } = def.attrs;
      const source = dimEqual(x.type.shape[last]!, sizes[last]!) && steps[last] === 1 ? inner(x) : undefined;
      return source && slice([source], { starts, sizes: halved, steps });
    }
    case "gather": {
      const source = def.attrs.axis < x.type.shape.length - 1 ? inner(x) : undefined;
      return source && gather([source, def.operands[1]!], def.attrs);
    }
    default: {
      if (!isElementwise(def.op)) return undefined;
      const operands = def.operands.map(inner);
      return operands.every((o) => o !== undefined) ? remake(def, operands).results[0] : undefined;
    }
  }
}

/** x where v is concat(−x[half:], x[:half]) along the last axis. */
function rotatedForm(v: Value): { readonly x: Value; readonly half: number } | undefined {
  const last = v.type.shape.length - 1;
  if (v.def.op !== "concat" || v.def.attrs.axis !== last || v.def.operands.length !== 2) return undefined;
  const [high, low] = v.def.operands as [Value, Value];
  const half = low.type.shape[last]!;
  if (high.def.op !== "neg" || typeof half !== "number" || v.type.shape[last] !== 2 * half) return undefined;
  const parts = [low, high.def.operands[0]!].map((p, i) => {
    const { def } = p;
    if (def.op !== "slice") return undefined;
    const { starts, sizes, steps } = def.attrs;
    const fits =
      starts.every((s, a) => steps[a] === 1 && dimEqual(s, a === last ? i * half : 0)) && sizes[last] === half;
    return fits ? def.operands[0] : undefined;
  });
  const [x, other] = parts;
  return x !== undefined && x === other && x.type.shape.every((d, a) => dimEqual(d, v.type.shape[a]!))
    ? { x, half }
    : undefined;
}

export const rotaryRules: readonly Rule[] = [
  // x · c + concat(−x₂, x₁) · s → rotary(x, c₁, s₁), x₁ and x₂ the halves of x; c and s have equal halves
  rule("recognize-rotary", node("add", "n"), ({ n }) => {
    const [p, q] = n.operands.map((v) => v.def);
    if (p?.op !== "mul" || q?.op !== "mul" || !isFloat(n.results[0]!.type.dtype)) return undefined;
    for (const [plain, turned] of [
      [p, q],
      [q, p],
    ] as const) {
      for (const i of [0, 1] as const) {
        const found = rotatedForm(turned.operands[i]!);
        const at = found ? plain.operands.indexOf(found.x) : -1;
        if (found === undefined || at < 0) continue;
        const cos = equalHalf(plain.operands[1 - at]!, found.half);
        const sin = equalHalf(turned.operands[1 - i]!, found.half);
        if (cos !== undefined && sin !== undefined) return rotary([found.x, cos, sin], { interleaved: false });
      }
    }
    return undefined;
  }),
];
