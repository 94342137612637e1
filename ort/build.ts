/** Which compiler this is. */

import { version } from "../compiler/version.js";

declare const WASMITH_BUILD: string | undefined;

/** The version, and where it was bundled a hash of the compiler's code: what another compiler made is made anew. */
export const build: string = typeof WASMITH_BUILD === "string" ? `${version} ${WASMITH_BUILD}` : version;
