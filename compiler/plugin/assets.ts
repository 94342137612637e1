/** Files that code names by `new URL("./literal", import.meta.url)`, for bundlers that do not look for them. */

import { dirname, join } from "node:path";

const named = /new URL\("\.\/([^"\\]+)",\s*import\.meta\.url\)/g;

/** Whether the code is glue of an artefact, or that part of the runtime which starts workers. */
export const namesAssets = (id: string, code: string): boolean =>
  /^\/\/ Written by wasmith /.test(code) || /[\\/]wasmith[\\/]dist[\\/]pool\.js$/.test(id);

/** Replaces each of these expressions. @param place is given the path of the file, and gives the expression of its URL */
export function placeAssets(id: string, code: string, place: (path: string) => string): string {
  return code.replace(named, (_, file: string) => place(join(dirname(id), decodeURIComponent(file))));
}
