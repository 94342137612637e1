/** Bytes that an address holds itself. A module of its own, which is loaded where a bundler put a small file into the code that names it. */

/**
 * What a `data:` URL holds. It is decoded here since `fetch` may be forbidden to: a page's policy that says `connect-src 'self'` does not
 * mean what its own scripts hold.
 */
export function decodeDataUrl({ href }: URL): Uint8Array {
  const comma = href.indexOf(",");
  const text = decodeURIComponent(href.slice(comma + 1));
  const bytes = /;base64$/i.test(href.slice(0, comma)) ? atob(text) : text;
  return Uint8Array.from(bytes, (c) => c.charCodeAt(0));
}
