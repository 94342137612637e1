/** Makes `toEqual` of typed arrays a loop: element by element through vitest's own testers, a million of them take 400 MB of heap. */
import { expect } from "vitest";

type Elements = ArrayLike<number | bigint>;
const isElements = (value: unknown): value is ArrayBufferView & Elements =>
  ArrayBuffer.isView(value) && !(value instanceof DataView);

expect.addEqualityTesters([
  (a: unknown, b: unknown): boolean | undefined => {
    if (!isElements(a) || !isElements(b) || a.constructor !== b.constructor) return undefined;
    if (a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
    return true;
  },
]);
