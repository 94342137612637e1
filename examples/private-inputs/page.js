/** Asks a server whether a message is spam, and shows it as little as it needs. */
import { ask } from "./channel.js";
import { bagOfWords, maskFields, maskText } from "./mask.js";
// Pinned: whoever answers at the server's address without its private key can't read what the page asks.
import { serverKey } from "./server-key.js";

const form = document.querySelector("form");
const [leaves, verdict] = document.querySelectorAll("output");

async function bytesFrom(path, init) {
  const response = await fetch(path, init);
  if (!response.ok) throw new Error(await response.text());
  return new Uint8Array(await response.arrayBuffer());
}

form.onsubmit = async (event) => {
  event.preventDefault();
  try {
    const record = Object.fromEntries(new FormData(form));
    const { message } = maskFields(record, { message: (text) => maskText(text, record.name.split(/\s+/)) });
    leaves.value = message;
    const question = await ask(serverKey, await bytesFrom("ticket", { method: "POST" }), bagOfWords(message));
    const [ham, spam] = await question.open(await bytesFrom("ask", { method: "POST", body: question.message }));
    verdict.value = `spam with probability ${(1 / (1 + Math.exp(ham - spam))).toFixed(4)}`;
  } catch (error) {
    verdict.value = `no answer: ${error.message || error.name}`;
  }
};
form.querySelector("button").disabled = false;
