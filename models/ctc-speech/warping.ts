/**
 * Dynamic time warping of joined words, as recordings were told before there were networks for it.
 * Ney, "The use of a one-stage dynamic programming algorithm for connected word recognition", 1984.
 */

/** Numbers of a frame. */
export const width = 12;

/** A digit as it was once spoken: [frames, width]. */
export interface Template {
  readonly digit: number;
  readonly frames: Float32Array;
}

export interface Costs {
  /** Of a frame of silence. */
  readonly pause: number;
  /** Of a digit that begins. */
  readonly penalty: number;
}

/** Mean squared difference of two frames. */
function difference(a: Float32Array, i: number, b: Float32Array, j: number): number {
  let sum = 0;
  for (let k = 0; k < width; k++) sum += (a[i * width + k]! - b[j * width + k]!) ** 2;
  return sum / width;
}

/**
 * The digits of the cheapest way through frames x: each frame is matched to one of a template, which goes on by 0, 1 or 2 frames, or to
 * silence.
 */
export function connected(x: Float32Array, templates: readonly Template[], { pause, penalty }: Costs): number[] {
  // Of each frame of a template: the least cost of being there, and which of `said` is told before it.
  const states = templates.map(({ digit, frames }) => {
    const length = frames.length / width;
    return {
      digit,
      frames,
      cost: new Float64Array(length).fill(Number.POSITIVE_INFINITY),
      before: new Int32Array(length),
    };
  });
  const said: { readonly digit: number; readonly before: number }[] = [{ digit: -1, before: 0 }];
  let ended = { cost: 0, last: 0 };
  for (let t = 0; t < x.length / width; t++) {
    let next = { cost: ended.cost + pause, last: ended.last };
    for (const { digit, frames, cost, before } of states) {
      for (let j = cost.length - 1; j >= 0; j--) {
        let [least, last] = [cost[j]!, before[j]!];
        if (j > 0 && cost[j - 1]! < least) [least, last] = [cost[j - 1]!, before[j - 1]!];
        if (j > 1 && cost[j - 2]! < least) [least, last] = [cost[j - 2]!, before[j - 2]!];
        if (j === 0 && ended.cost + penalty < least) [least, last] = [ended.cost + penalty, ended.last];
        cost[j] = least === Number.POSITIVE_INFINITY ? least : least + difference(x, t, frames, j);
        before[j] = last;
      }
      const end = cost.length - 1;
      if (cost[end]! < next.cost) next = { cost: cost[end]!, last: said.push({ digit, before: before[end]! }) - 1 };
    }
    ended = next;
  }
  const digits: number[] = [];
  for (let at = ended.last; at > 0; at = said[at]!.before) digits.unshift(said[at]!.digit);
  return digits;
}
