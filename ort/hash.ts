/** What files are told apart by. */

import { sha256, toHex } from "../runtime/container.js";

/** SHA-256 in hex; undefined where the host can't hash. */
export async function hashOf(bytes: Uint8Array): Promise<string | undefined> {
  const digest = await sha256(bytes);
  return digest ? toHex(digest) : undefined;
}
