/**
 * Answers encrypted questions by a model: `node examples/private-inputs/server.mjs MODEL.wasm KEYS.json [PORT]`, after `npm run build`.
 * KEYS.json is made where there is none. For trying it out this serves the page too, with the public key in it; in earnest the page and its
 * pinned key come from where an attacker of this server can't change them.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { load } from "wasmith/runtime";
import { newKeys, newTicket, privateKeyOf, receive, ticketOf } from "./channel.js";

const [model, keyFile, port = 0] = process.argv.slice(2);
if (!existsSync(keyFile)) writeFileSync(keyFile, JSON.stringify(await newKeys()), { mode: 0o600 });
const keys = JSON.parse(readFileSync(keyFile, "utf8"));
const privateKey = await privateKeyOf(keys.privateKey);
const session = await load(model, { threads: 1 });

/** Tickets that were given and not used. Each goes with its first use, or after a minute. */
const open = new Set();
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const patience = 60_000;
const limits = { tickets: 10_000, bytes: 1 << 16 };

function giveTicket() {
  if (open.size >= limits.tickets) throw new Error("too many tickets are open");
  const ticket = newTicket();
  open.add(hex(ticket));
  setTimeout(() => open.delete(hex(ticket)), patience).unref();
  return ticket;
}

async function answer(message) {
  if (!open.delete(hex(ticketOf(message)))) throw new Error("unknown ticket");
  const question = await receive(privateKey, message);
  const { logits } = await session.run({
    x: { dtype: "f32", shape: [1, question.values.length], data: question.values },
  });
  return question.answer(logits.data);
}

async function bodyOf(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > limits.bytes) throw new Error("too long");
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

const types = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8" };
const file = (name) => readFileSync(new URL(name, import.meta.url));
const pages = new Map(["index.html", "page.js", "channel.js", "mask.js"].map((name) => [`/${name}`, file(name)]));
pages.set("/server-key.js", `export const serverKey = "${keys.publicKey}";\n`);

const server = createServer(async (request, response) => {
  const path = request.url === "/" ? "/index.html" : request.url;
  const page = request.method === "GET" ? pages.get(path) : undefined;
  response.setHeader("Content-Security-Policy", "default-src 'self'");
  if (page) return response.writeHead(200, { "Content-Type": types[path.split(".").at(-1)] }).end(page);
  try {
    if (request.method !== "POST" || (path !== "/ticket" && path !== "/ask")) return response.writeHead(404).end();
    const body = path === "/ask" ? await answer(await bodyOf(request)) : giveTicket();
    response.writeHead(200, { "Content-Type": "application/octet-stream" }).end(body);
  } catch (error) {
    console.error(`refused: ${error.message || error.name}`);
    // The same for all, so that nobody learns from it what was wrong with a message.
    response.writeHead(400).end("refused");
  }
});
server.listen(Number(port), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
