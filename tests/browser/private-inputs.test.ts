/** examples/private-inputs: its page and its server, and what goes between them. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { nn, toGraph } from "../../compiler/dsl/index.js";
import { load } from "../../runtime/index.js";
import { browserObstacle, startBrowser } from "./harness.js";

if (browserObstacle) console.warn(`browser tests are skipped: ${browserObstacle}`);

const example = new URL("../../examples/private-inputs/", import.meta.url);
const { bagOfWords, buckets, maskFields, maskText } = await import(new URL("mask.js", example).href);
const { ask } = await import(new URL("channel.js", example).href);

const letter = "Dear Ada, call Mr Lovelace on +44 7700 900 123 or write to ada@example.org. Your parcel waits.";
const masked = "Dear [NAME], call Mr [NAME] on [NUMBER] or write to [ADDRESS] Your parcel waits.";

describe("the masks of examples/private-inputs", () => {
  it("stand for names, numbers and addresses", () => {
    expect(maskText(letter, ["Ada", "Lovelace"])).toBe(masked);
    expect(maskText("Ada's adaptor, ada and ÉADA", ["Ada", ""])).toBe("[NAME]'s adaptor, [NAME] and ÉADA");
    expect(maskText("DE89 3704 0044 by 3pm, see www.example.org/x?a=b", [])).toBe("[NUMBER] by [NUMBER] see [ADDRESS]");
    expect(maskText("a.b axb", ["a.b"])).toBe("[NAME] axb");
    expect(maskText("no names", [])).toBe("no names");
  });

  it("are all that differs between two people", () => {
    const words = (text: string, names: string[]) => bagOfWords(maskText(text, names));
    const other = letter.replace("Ada", "Grace").replace("Lovelace", "Hopper").replace("900 123", "900 456");
    expect(words(other, ["Grace", "Hopper"])).toEqual(words(letter, ["Ada", "Lovelace"]));
    expect(words(other, [])).not.toEqual(words(letter, []));
  });

  it("drop fields that no rule names", () => {
    const record = { name: "Ada", born: 1815, income: 12 };
    const decade = (year: number) => Math.floor(year / 10) * 10;
    expect(maskFields(record, { born: decade })).toEqual({ born: 1810 });
  });
});

/** A server of the example's own file, in a process of its own. */
async function startServer(model: string, keys: string): Promise<{ url: string; process: ChildProcess }> {
  const server = new URL("server.mjs", example).pathname;
  const child = spawn(process.execPath, [server, model, keys], { stdio: ["ignore", "pipe", "ignore"] });
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout!.once("data", (line: Buffer) => resolve(line.toString().trim()));
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  return { url, process: child };
}

const flip = (bytes: Uint8Array, at: number): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
/** The verdict that is out once the button has been pressed. */
async function verdictOf(page: Page): Promise<string> {
  await page.evaluate("document.querySelectorAll('output')[1].value = ''");
  await page.click("button");
  const verdict = page.locator("output").nth(1);
  await verdict.filter({ hasText: /./ }).waitFor();
  return (await verdict.textContent())!;
}

describe.skipIf(browserObstacle !== null)("examples/private-inputs", () => {
  const folder = mkdtempSync(join(tmpdir(), "wasmith-private-"));
  const x = bagOfWords(masked) as Float32Array<ArrayBuffer>;
  let server: Awaited<ReturnType<typeof startServer>>;
  let browser: Awaited<ReturnType<typeof startBrowser>>;
  let page: Page;
  let logits: Float32Array;
  /** All that goes between page and server: addresses, headers and bodies. */
  const wire: Buffer[] = [];
  let question: Buffer;

  beforeAll(async () => {
    const model = nn.sequential({ linear: nn.Linear(buckets, 2) });
    const graph = toGraph(model, { inputs: { x: ["batch", buckets] }, outputs: ["logits"] });
    const artifact = await compile(graph, { name: "spam", variants: ["simd128"] });
    await artifact.write(folder);
    const session = await load(join(folder, "spam.wasm"), { threads: 1 });
    const { logits: expected } = await session.run({ x: { dtype: "f32", shape: [1, buckets], data: x } });
    logits = expected!.data as Float32Array;
    session.dispose();
    server = await startServer(join(folder, "spam.wasm"), join(folder, "keys.json"));
    browser = await startBrowser();
    page = await browser.newPage();
    await page.goto(server.url);
    await page.fill("[name=name]", "Ada Lovelace");
    await page.fill("[name=phone]", "07700 900123");
    await page.fill("[name=message]", letter);
  });
  afterAll(async () => {
    server?.process.kill();
    await browser?.close();
    rmSync(folder, { recursive: true });
  });

  const post = (path: string, body?: Uint8Array) =>
    fetch(`${server.url}${path}`, { method: "POST", ...(body && { body: body as Uint8Array<ArrayBuffer> }) });
  const ticket = async () => new Uint8Array(await (await post("ticket")).arrayBuffer());

  it("answers as the model does, and shows neither question nor answer on the way", async () => {
    page.on("request", (request) => {
      wire.push(Buffer.from(request.url() + JSON.stringify(request.headers())));
      wire.push(request.postDataBuffer() ?? Buffer.of());
    });
    const answered = page.waitForResponse("**/ask");
    const verdict = await verdictOf(page);
    wire.push(await (await answered).body());
    const [ham, spam] = logits as unknown as [number, number];
    expect(verdict).toBe(`spam with probability ${(1 / (1 + Math.exp(ham - spam))).toFixed(4)}`);
    expect(await page.locator("output").first().textContent()).toBe(masked);

    question = wire.at(-2)!;
    // Ticket, key, ciphertext and tag: as long whatever the message is.
    expect(question.length).toBe(16 + 65 + 4 * buckets + 16);
    expect(wire.at(-1)!.length).toBe(4 * 2 + 16);
    const all = Buffer.concat(wire);
    const secrets = [...letter.match(/\p{L}{4,}/gu)!, "7700 900 123", "07700 900123", "Ada Lovelace", "[NAME]"];
    for (const word of secrets) expect(all.includes(word)).toBe(false);
    // Any few numbers of the input or the output.
    for (let i = 0; i + 4 <= buckets; i += 4) expect(all.includes(Buffer.from(x.buffer, i * 4, 16))).toBe(false);
    for (const value of logits) expect(all.includes(Buffer.from(Float32Array.of(value).buffer))).toBe(false);
  });

  it("refuses a message again", async () => {
    const again = await post("ask", question);
    expect([again.status, await again.text()]).toEqual([400, "refused"]);
  });

  it("refuses a message in which a bit differs, and one in which none differs it answers", async () => {
    const key = await (await fetch(`${server.url}server-key.js`)).text();
    const serverKey = /"(.*)"/.exec(key)![1]!;
    // In the ticket, the point, the ciphertext and the tag; and too short.
    const changes = [0, 15, 17, 80, 81, 2000, -1].map((at) => (m: Uint8Array) => flip(m, (at + m.length) % m.length));
    for (const change of [...changes, (m: Uint8Array) => m.slice(0, 40), () => new Uint8Array()]) {
      const { message } = await ask(serverKey, await ticket(), x);
      const { status } = await post("ask", change(message));
      expect(status).toBe(400);
    }
    const { message, open } = await ask(serverKey, await ticket(), x);
    const answer = new Uint8Array(await (await post("ask", message)).arrayBuffer());
    expect(await open(answer)).toEqual(logits);
    await expect(open(flip(answer, 3))).rejects.toThrow();
    const other = await ask(serverKey, await ticket(), x);
    await expect(other.open(answer)).rejects.toThrow();
  });

  it("refuses questions that are for another server", async () => {
    const other = await startServer(join(folder, "spam.wasm"), join(folder, "other.json"));
    // Whoever takes the server's place gets what the page sends, and can't read it.
    await page.route("**/ask", async (route) =>
      route.continue({ url: `${other.url}ask`, postData: route.request().postDataBuffer()! }),
    );
    await page.route("**/ticket", (route) => route.continue({ url: `${other.url}ticket` }));
    expect(await verdictOf(page)).toBe("no answer: refused");
    other.process.kill();
    await page.unrouteAll();
  });

  it("shows no answer in which a bit differs", async () => {
    await page.route("**/ask", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: Buffer.from(flip(await response.body(), 5)) });
    });
    expect(await verdictOf(page)).toBe("no answer: OperationError");
    await page.unrouteAll();
  });
});
