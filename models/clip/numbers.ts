/** Pictures of the numbers 0 to 99, put together of two handwritten digits, and their English names. */

import type { Random } from "wasmith/data";
import { digitBytes, type Part } from "../data/digits.js";

const ones = "zero one two three four five six seven eight nine".split(" ");
const teens = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(" ");
const tens = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/** "zero" to "ninety-nine". */
export const names = Array.from({ length: 100 }, (_, n) => {
  if (n < 20) return n < 10 ? ones[n]! : teens[n - 10]!;
  const one = n % 10;
  return one === 0 ? tens[Math.floor(n / 10)]! : `${tens[Math.floor(n / 10)]}-${ones[one]}`;
});

export const length = Math.max(...names.map((name) => name.length));
/** 0 is nothing, 1 to 26 letters, 27 the hyphen. Names stand at the right end of the row. */
const code = (character: string) => (character === "-" ? 27 : character.charCodeAt(0) - 96);

/** Names as rows of characters, i32 [numbers, length]. */
export const spelled = (numbers: readonly number[]): Int32Array =>
  Int32Array.from(
    numbers.flatMap((n) => [...new Array<number>(length - names[n]!.length).fill(0), ...[...names[n]!].map(code)]),
  );

/** Numbers that are kept from the training: one of each ten from twenty on, none with the same last digit. */
export const unseen = [2, 3, 4, 5, 6, 7, 8, 9].flatMap((ten) => [
  ten * 10 + ((ten * 3) % 10),
  ten * 10 + ((ten * 3 + 5) % 10),
]);
export const seen = names.map((_, n) => n).filter((n) => !unseen.includes(n));

/** Half of a digit's height and width: 14×14. */
const side = 14;

/** What draws pictures of numbers, f32 [numbers, 1, 14, 28], with other digits each time. */
export async function pictures(part: Part): Promise<(numbers: readonly number[], random: Random) => Float32Array> {
  const { count, pixels, labels } = await digitBytes(part);
  const of = Array.from({ length: 10 }, (_, digit) =>
    Array.from({ length: count }, (_, i) => i).filter((i) => Number(labels.data[i]) === digit),
  );
  return (numbers, random) => {
    const data = new Float32Array(numbers.length * side * 2 * side);
    for (const [row, number] of numbers.entries())
      for (const [half, digit] of [Math.floor(number / 10), number % 10].entries()) {
        const from = of[digit]![random.integer(of[digit]!.length)]! * 784;
        for (let y = 0; y < side; y++)
          for (let x = 0; x < side; x++) {
            const at = from + 2 * y * 28 + 2 * x;
            const sum = pixels[at]! + pixels[at + 1]! + pixels[at + 28]! + pixels[at + 29]!;
            data[(row * side + y) * 2 * side + half * side + x] = sum / 4 / 255;
          }
      }
    return data;
  };
}
