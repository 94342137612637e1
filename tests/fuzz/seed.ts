/**
 * Seeds and sizes of the random tests. WASMITH_FUZZ_SEED chooses the seed; without it, it is 1, and in CI another every day.
 * Each test prints the seed that it ran with.
 */

const today = () => Math.floor(Date.now() / 86_400_000);

export function fuzzSeed(test: string): number {
  const seed = Number(process.env.WASMITH_FUZZ_SEED ?? (process.env.CI ? today() : 1));
  console.info(`${test}: WASMITH_FUZZ_SEED=${seed}`);
  return seed;
}

/** How many cases to try: a number in the environment variable; else few, and more in CI. */
export const fuzzRuns = (variable: string, usual: number, inCi = usual): number =>
  Number(process.env[variable] ?? (process.env.CI ? inCi : usual));

/** How long to try cases: seconds in the environment variable; else short, and longer in CI. */
export const fuzzSeconds = (variable: string, usual: number, inCi: number): number =>
  Number(process.env[variable] ?? (process.env.CI ? inCi : usual));
