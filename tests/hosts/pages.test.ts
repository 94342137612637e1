/** Pages of docs/HOSTS.md, as they stand there, in Chromium. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { browserObstacle, runInPage, type Site, serve, startBrowser } from "../browser/harness.js";
import { bundle, inHosts, project } from "./recipes.js";

if (browserObstacle) console.warn(`the recipes for pages are not tested: ${browserObstacle}`);
const react = inHosts("react-dom");
if (!react)
  console.warn(
    "the recipe for React is not tested: it is not installed (npm ci --prefix tests/hosts --ignore-scripts)",
  );

describe.skipIf(browserObstacle)("the recipe for", () => {
  let folder: string;
  let browser: Awaited<ReturnType<typeof startBrowser>>;
  let site: Site | undefined;
  beforeAll(async () => {
    [folder, browser] = await Promise.all([project(), startBrowser()]);
    mkdirSync(join(folder, "public"));
  });
  afterAll(async () => {
    site?.close();
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Serves the model, what was bundled, and further files. */
  const serveAll = (more: Readonly<Record<string, string>>): Promise<Site> => {
    const files = new Map<string, Uint8Array | string>(Object.entries(more));
    for (const part of ["", "single"])
      for (const name of readdirSync(join(folder, part)).filter((f) => /\.(wasm|weights)$/.test(f)))
        files.set(`/${join(part, name)}`, readFileSync(join(folder, part, name)));
    for (const name of readdirSync(join(folder, "public")))
      files.set(`/${name}`, readFileSync(join(folder, "public", name)));
    return serve({ files });
  };

  it("a service worker answers, also when the server is gone", async () => {
    await bundle(folder, "sw.mjs", "public/sw.js", { format: "iife" });
    site = await serveAll({});
    const page = await browser.newPage();
    await page.goto(site.url);
    await runInPage(
      page,
      `await navigator.serviceWorker.register("/sw.js"); await navigator.serviceWorker.ready;
      if (!navigator.serviceWorker.controller) await new Promise((r) => { navigator.serviceWorker.oncontrollerchange = r; });
      return null`,
    );
    const ask = (x: readonly number[]) =>
      runInPage(page, `return (await fetch("/predict", { method: "POST", body: JSON.stringify(arg) })).json()`, x);
    expect(await ask([1, 2, 3])).toEqual([3, 5, 7]);
    site.close();
    expect(await ask([0, 0, 1])).toEqual([1, 1, 3]);
    await page.close();
  });

  it.skipIf(!react)("React shows what the model gives, also where effects run twice", async () => {
    writeFileSync(
      join(folder, "main.jsx"),
      `import { StrictMode } from "react";
      import { createRoot } from "react-dom/client";
      import { App } from "./app.jsx";
      createRoot(document.querySelector("main")).render(<StrictMode><App /></StrictMode>);`,
    );
    await bundle(folder, "main.jsx", "public/main.js", {
      format: "esm",
      jsx: "automatic",
      define: { "process.env.NODE_ENV": '"development"' },
      preserveSymlinks: true,
    });
    site = await serveAll({
      "/app.html": `<!doctype html><main></main><script type="module" src="/main.js"></script>`,
    });
    const page = await browser.newPage();
    await page.goto(`${site.url}app.html`);
    await page.getByText("3,5,7").waitFor();
    expect(await page.locator("main").innerText()).toBe("3,5,7");
    await page.close();
    site.close();
  });

  it("Electron's pages from files are given the bytes", async () => {
    await bundle(folder, "file-page.mjs", "public/file-page.js", { format: "iife" });
    writeFileSync(join(folder, "public/file-page.html"), `<!doctype html><script src="file-page.js"></script>`);
    const page = await browser.newPage();
    await page.goto(pathToFileURL(join(folder, "public/file-page.html")).href);
    const bytes = readFileSync(join(folder, "single/affine.wasm"));
    const code = `return Array.from(await predict(Uint8Array.from(atob(arg), (c) => c.charCodeAt(0)), Float32Array.of(1, 2, 3)))`;
    expect(await runInPage(page, code, bytes.toString("base64"))).toEqual([3, 5, 7]);
    await page.close();
  });
});
