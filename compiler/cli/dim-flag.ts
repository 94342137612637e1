/** Sizes on the command line. */

import { InvalidArgumentError } from "commander";

/** Range or value of a dim from `--dim name=value` or `--dim name=lo..hi`. */
export type DimOption = Readonly<Record<string, number | readonly [number, number]>>;

export function collectDim(text: string, previous: DimOption = {}): DimOption {
  const match = /^(.+)=(\d+)(?:\.\.(\d+))?$/.exec(text);
  if (!match) throw new InvalidArgumentError("write name=value or name=low..high, as in batch=1..64");
  const low = Number(match[2]);
  if (match[3] === undefined) return { ...previous, [match[1]!]: low };
  const high = Number(match[3]);
  if (low > high) throw new InvalidArgumentError(`${low}..${high} is empty: write the smaller size first`);
  return { ...previous, [match[1]!]: [low, high] };
}
