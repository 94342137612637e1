/** wasmith/data in Chromium, as it is built, under a policy without eval: the same elements as in Node. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as data from "../../runtime/data/index.js";
import { browserObstacle, runInPage, type Site, serve, startBrowser } from "./harness.js";

if (browserObstacle) console.warn(`browser tests are skipped: ${browserObstacle}`);

const fixtures = join(import.meta.dirname, "../fixtures/data");
const names = ["rgb.png", "palette.png", "gray16.png", "444.jpg", "progressive.jpg", "compressed.npz", "fortran.npy"];
const csv = 'id,text\n1,"a b"\n2,c\n';
const tokenizer = JSON.stringify({
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: "Whitespace" },
  post_processor: null,
  decoder: null,
  model: { type: "WordLevel", unk_token: "?", vocab: { a: 0, "?": 1 } },
});

/** Runs here and in the page. `data` is the package, `base` where the files are. Plain JavaScript, without types. */
const body = `
  const { dataset, augment, shift, rotate, normalize, color, mixup } = data;
  const plain = (value) => JSON.parse(JSON.stringify(value, (_, v) => (ArrayBuffer.isView(v) ? Array.from(v, String) : v)));
  const images = [];
  for (const name of ["rgb.png", "palette.png", "gray16.png", "444.jpg", "progressive.jpg"]) images.push(await data.readImage(base + name));
  const arrays = [await data.readNpz(base + "compressed.npz"), await data.readNpy(base + "fortran.npy")];
  const rows = await data.readCsv(base + "table.csv.gz");
  const vocabulary = data.Vocabulary.build(rows.map((r) => r.text));
  const words = await data.loadTokenizer(base + "tokenizer.json");
  const elements = dataset({ x: [images[0], images[3], images[4]], y: [0, 1, 2] })
    .shuffle({ seed: 3 })
    .map(augment("x", [shift({ x: 2, y: 2 }), rotate(20), color({ hue: 0.2, contrast: 0.3 }), normalize()]), { seed: 4 })
    .batch(2)
    .map(mixup({ images: "x", labels: "y", classes: 3 }), { seed: 5 })
    .prefetch(2);
  const failures = [];
  const fails = (promise) => promise.then(() => failures.push("none"), (e) => failures.push(e.message.replaceAll(base, "")));
  await fails(data.readCsv(base + "broken.csv.gz"));
  await fails(data.readText(base + "bomb.gz", { maxBytes: 1000 }));
  await fails(data.readImage(base + "table.csv.gz"));
  const stream = dataset(() => new Blob(["x"]).stream()).map((chunk) => Array.from(chunk));
  return plain({
    images, arrays, rows, failures,
    ids: vocabulary.encode("b c d"),
    encoded: words.encode("a b"),
    epochs: [await elements.toArray(0), await elements.toArray(7)],
    stream: await stream.toArray(),
  });`;

describe.skipIf(browserObstacle !== null)("wasmith/data in Chromium", () => {
  let site: Site;
  let browser: Awaited<ReturnType<typeof startBrowser>>;

  beforeAll(async () => {
    const packed = gzipSync(csv);
    const broken = Uint8Array.from(packed);
    broken[broken.length - 6]! ^= 1;
    const files = new Map<string, Uint8Array | string>([
      ["/data/table.csv.gz", packed],
      ["/data/broken.csv.gz", broken],
      ["/data/bomb.gz", gzipSync(new Uint8Array(1e6))],
      ["/data/tokenizer.json", tokenizer],
    ]);
    for (const name of names) files.set(`/data/${name}`, readFileSync(join(fixtures, name)));
    site = await serve({ files });
    browser = await startBrowser();
  });
  afterAll(async () => {
    site?.close();
    await browser?.close();
  });

  it("gives what it gives in Node", async () => {
    const page = await browser.newPage();
    await page.goto(site.url);
    const base = `${site.url}data/`;
    type Answer = { readonly failures: readonly string[]; readonly rows: unknown };
    const got = await runInPage<Answer>(
      page,
      `const data = await import("/dist/data.js"); const base = arg; ${body}`,
      base,
    );
    const AsyncFunction = (async () => {}).constructor as new (
      ...of: string[]
    ) => (...of: unknown[]) => Promise<Answer>;
    const want = await new AsyncFunction("data", "base", body)(data, base);
    // Engines say in their own words what is wrong with packed data.
    const { failures, ...rest } = got;
    expect(rest).toEqual({ ...want, failures: undefined });
    expect(failures[0]).toMatch(/^broken.csv.gz: the gzip data are damaged or cut short/);
    expect(failures.slice(1)).toEqual(want.failures.slice(1));
    expect(failures[1]).toMatch(/^bomb.gz: more than 1000 bytes/);
    expect(failures[2]).toMatch(/^table.csv.gz: neither a PNG nor a JPEG image/);
    await page.close();
  });
});
