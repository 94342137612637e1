/** Walking windows: which input positions an output position sees, and the other way round. */

import { type Dim, dimAdd, dimBounds, dimMul, dimSub } from "../../../ir/dim.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { Layout, WindowAttrs } from "../../../ir/ops/window-geometry.js";
import type { Kernel } from "../elementwise/structured.js";

/** Index of [n, c, …spatial] in its layout. */
export const imageIndex = (n: Dim, c: Dim, spatial: readonly Dim[], layout: Layout): readonly Dim[] =>
  layout === "channelsFirst" ? [n, c, ...spatial] : [n, ...spatial, c];

/** Parts of an index in its layout. */
export function splitIndex(index: readonly Dim[], layout: Layout): { n: Dim; c: Dim; spatial: readonly Dim[] } {
  return layout === "channelsFirst"
    ? { n: index[0]!, c: index[1]!, spatial: index.slice(2) }
    : { n: index[0]!, c: index.at(-1)!, spatial: index.slice(1, -1) };
}

/** All taps of a window. */
export function forTaps(k: Kernel, window: readonly Dim[], body: (taps: readonly Dim[]) => void): void {
  const open = (a: number, taps: readonly Dim[]): void => {
    const size = window[a];
    if (size === undefined) body(taps);
    else k.loop(size, (t) => open(a + 1, [...taps, t]));
  };
  open(0, []);
}

/** Runs the body where tap t of output o lies inside the input; `inside` is its input position. */
export function seen(
  k: Kernel,
  outputs: readonly Dim[],
  taps: readonly Dim[],
  inputs: readonly Dim[],
  attrs: WindowAttrs,
  body: (inside: readonly Dim[]) => void,
): void {
  const open = (a: number, inside: readonly Dim[]): void => {
    if (a === inputs.length) {
      body(inside);
      return;
    }
    const reach = dimAdd(dimMul(outputs[a]!, attrs.strides[a]!), dimMul(taps[a]!, attrs.dilations[a]!));
    const at = dimSub(reach, attrs.padLow[a]!);
    // Where neither end can be left, there is nothing to check.
    if (attrs.padLow[a] === 0 && dimBounds(dimSub(reach, inputs[a]!)).max < 0) {
      open(a + 1, [...inside, at]);
      return;
    }
    k.computed(k.e.index(at), (i) => {
      k.block.if(B.ltU(k.e.index(i), k.size(inputs[a]!)), () => open(a + 1, [...inside, i]));
    });
  };
  open(0, []);
}

/** Runs the body where an output position sees input position `inputs` with the tap; `output` is that position. */
export function seenBy(
  k: Kernel,
  inputs: readonly Dim[],
  taps: readonly Dim[],
  outputs: readonly Dim[],
  attrs: WindowAttrs,
  body: (output: readonly Dim[]) => void,
): void {
  const open = (a: number, output: readonly Dim[]): void => {
    if (a === outputs.length) {
      body(output);
      return;
    }
    const at = dimSub(dimAdd(inputs[a]!, attrs.padLow[a]!), dimMul(taps[a]!, attrs.dilations[a]!));
    const stride = attrs.strides[a]!;
    const reach = k.block.let("reach", k.e.index(at));
    const whole: Expr = stride === 1 ? reach : k.block.let("window", B.divS(reach, stride));
    // A negative reach is below every window; −1/2 rounds to 0 but leaves a remainder.
    const fits = B.ltU(whole, k.size(outputs[a]!));
    const exact = stride === 1 ? fits : B.and(fits, B.eq(B.mul(whole, stride), reach));
    k.block.if(exact, () => k.computed(whole, (o) => open(a + 1, [...output, o])));
  };
  open(0, []);
}
