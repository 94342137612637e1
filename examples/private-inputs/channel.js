/**
 * A question to a server and its answer, both encrypted and authenticated: ECDH on P-256, HKDF, AES-GCM, by WebCrypto, which pages and Node
 * have. Each question has a key pair of its own and a ticket that the server gave, so that no key encrypts two messages and none is answered twice.
 *
 * A question is: ticket, public key of this question, ciphertext. An answer is ciphertext. Both hold numbers in f32.
 */
const curve = { name: "ECDH", namedCurve: "P-256" };
const cipher = { name: "AES-GCM", length: 256 };
/** Bytes of a ticket, and of it and an uncompressed point of the curve. */
const ticketEnd = 16;
const headerEnd = ticketEnd + 65;
/** Each key encrypts one message only, so the nonce need not differ. */
const once = { ...cipher, iv: new Uint8Array(12) };

/** Derives the keys of a question and of its answer. The header is their salt: where a bit of it differs, they do not decrypt. */
async function keysOf(privateKey, publicKey, header) {
  const shared = await crypto.subtle.deriveBits({ ...curve, public: publicKey }, privateKey, 256);
  const secret = await crypto.subtle.importKey("raw", shared, "HKDF", false, ["deriveKey"]);
  return (purpose, use) => {
    const info = new TextEncoder().encode(`private-inputs ${purpose}`);
    return crypto.subtle.deriveKey({ name: "HKDF", hash: "SHA-256", salt: header, info }, secret, cipher, false, [use]);
  };
}

const encrypt = async (key, values) => new Uint8Array(await crypto.subtle.encrypt(once, await key, values));
const decrypt = async (key, bytes) => new Float32Array(await crypto.subtle.decrypt(once, await key, bytes));
const point = (bytes) => crypto.subtle.importKey("raw", bytes, curve, true, []);

/**
 * What the page sends, and how it reads the answer.
 * @param serverKey the server's public key, 65 bytes in base64
 * @returns the message, and `open`, which rejects where the answer was changed or is of another question
 */
export async function ask(serverKey, ticket, values) {
  const pair = await crypto.subtle.generateKey(curve, false, ["deriveBits"]);
  const own = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const header = Uint8Array.of(...ticket, ...own);
  const server = await point(Uint8Array.from(atob(serverKey), (c) => c.charCodeAt(0)));
  const key = await keysOf(pair.privateKey, server, header);
  const message = Uint8Array.of(...header, ...(await encrypt(key("question", "encrypt"), values)));
  return { message, open: (answer) => decrypt(key("answer", "decrypt"), answer) };
}

/**
 * What the server reads from a message, and how it answers.
 * @throws where the message was changed, or is for another server
 */
export async function receive(privateKey, message) {
  const header = message.slice(0, headerEnd);
  const key = await keysOf(privateKey, await point(header.slice(ticketEnd)), header);
  const values = await decrypt(key("question", "decrypt"), message.slice(headerEnd));
  return { values, answer: (results) => encrypt(key("answer", "encrypt"), results) };
}

export const ticketOf = (message) => message.slice(0, ticketEnd);
export const newTicket = () => crypto.getRandomValues(new Uint8Array(ticketEnd));

/** A server's pair: the private key as a JWK, which stays with it, and the public key in base64, to be pinned in the page. */
export async function newKeys() {
  const pair = await crypto.subtle.generateKey(curve, true, ["deriveBits"]);
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return {
    privateKey: await crypto.subtle.exportKey("jwk", pair.privateKey),
    publicKey: btoa(String.fromCharCode(...raw)),
  };
}

export const privateKeyOf = (jwk) => crypto.subtle.importKey("jwk", jwk, curve, false, ["deriveBits"]);
