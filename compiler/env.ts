/** The environment variables of the compiler; docs/DEBUGGING.md describes them. They are read here and nowhere else. */

export interface DebugSettings {
  /** DEBUG=0…6: how much is told on standard error. Each level includes those below. */
  readonly level: number;
  /** DUMP=directory: every stage is written there. */
  readonly dump: string | undefined;
}

/** WASMITH_KEY: the key of encrypted artefacts, for the command line. */
export const keyVariable = (): string | undefined =>
  (typeof process === "undefined" ? undefined : process.env.WASMITH_KEY) || undefined;

/** The folder for caches: WASMITH_CACHE, or what the platform's rules say. */
export function cacheFolder(platform: string, home: string): string {
  const { WASMITH_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (WASMITH_CACHE) return WASMITH_CACHE;
  if (platform === "win32") return LOCALAPPDATA || `${home}\\AppData\\Local`;
  return platform === "darwin" ? `${home}/Library/Caches` : XDG_CACHE_HOME || `${home}/.cache`;
}

/** What the environment asks for now. Nothing, where there is no environment (browsers) or DEBUG is not a number. */
export function debugSettings(): DebugSettings {
  const env = typeof process === "undefined" ? {} : process.env;
  const level = /^[0-6]$/.test(env.DEBUG ?? "") ? Number(env.DEBUG) : 0;
  return { level, dump: env.DUMP || undefined };
}
