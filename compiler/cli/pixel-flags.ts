/** Flags that say how pixels become numbers. */

import { type Command, InvalidArgumentError } from "commander";

export function numbers(text: string): readonly number[] {
  const list = text.split(",").map((t) => (t.trim() === "" ? Number.NaN : Number(t)));
  if (!list.every(Number.isFinite)) throw new InvalidArgumentError("write numbers with commas between them");
  return list;
}

function pair(text: string): readonly number[] {
  const list = numbers(text);
  if (list.length !== 2) throw new InvalidArgumentError("write what black and white become, as in 0,255");
  return list;
}

export function withPixelFlags(command: Command): Command {
  return command
    .option("--range <black,white>", "numbers for black and white (default: 0,1; of whole numbers 0,255)", pair)
    .option("--mean <list>", "subtracted then: one number, or one for each channel", numbers)
    .option("--std <list>", "divides then", numbers);
}
