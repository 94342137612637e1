/** The code of docs/HOSTS.md, laid out in a folder as a user has it, and what runs it. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build } from "esbuild";
import { compile } from "../../compiler/compile.js";
import { F } from "../../index.js";
import { dimSymbol } from "../../ir/dim.js";
import { type Graph, graph, param } from "../../ir/graph.js";

export const root = fileURLToPath(new URL("../..", import.meta.url));
const installed = fileURLToPath(new URL("node_modules/", import.meta.url));

/** Where a host's program or package lies in `tests/hosts`, or null where it is not installed. */
export function inHosts(path: string): string | null {
  const file = join(installed, path);
  return existsSync(file) ? file : null;
}

export const isBuilt = existsSync(join(root, "dist/runtime.js"));
if (!isBuilt) console.warn("the recipes are not tested: dist/ is not built (npm run build)");

/** y = 2x + 1 */
export function affineGraph(name: string): Graph {
  const x = param("x", { dtype: "f32", shape: [dimSymbol("n"), 3] });
  return graph(name, [x], [F.add(F.mul(x, 2), 1)], ["y"]);
}

const affine = (variants: readonly ["simd128"] | undefined, name = "affine") =>
  compile(affineGraph(name), variants ? { variants } : {});

/** A project with wasmith as a dependency, the page's files and the model: `affine.wasm`, `single/affine.wasm`, `edge.wasm`. */
export async function project(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "wasmith-hosts-"));
  const page = readFileSync(join(root, "docs/HOSTS.md"), "utf8");
  for (const [, name, code] of page.matchAll(/```\w+\n(?:\/\/|#) ([\w-]+\.\w+)\n(.*?)```/gs))
    writeFileSync(join(folder, name!), code!);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", dependencies: { wasmith: "*" } }));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules/wasmith"));
  for (const name of ["react", "react-dom", "scheduler"]) {
    const from = inHosts(name);
    if (from) symlinkSync(from, join(folder, "node_modules", name));
  }
  await (await affine(undefined)).write(folder);
  await (await affine(["simd128"])).write(join(folder, "single"), { singleFile: true });
  await (await affine(["simd128"], "edge")).write(folder, { singleFile: true });
  return folder;
}

/** What a recipe says of esbuild. */
export async function bundle(folder: string, from: string, to: string, options: BuildOptions): Promise<void> {
  await build({
    absWorkingDir: folder,
    entryPoints: [from],
    outfile: to,
    bundle: true,
    logLevel: "error",
    ...options,
  });
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

/** A server that a recipe starts. */
export class Server {
  readonly #child: ChildProcess;
  readonly #port: number;
  #said = "";

  constructor(program: string, args: readonly string[], folder: string, port: number) {
    this.#port = port;
    // Deno keeps what it compiled in a folder of its own.
    const env = { ...process.env, PORT: String(port), DENO_DIR: join(folder, "deno") };
    this.#child = spawn(program, args, { cwd: folder, env });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) stream.on("data", (data) => (this.#said += data));
  }

  /** Posts, as soon as the server answers. */
  async post(body: string): Promise<Response> {
    for (;;) {
      try {
        return await fetch(`http://127.0.0.1:${this.#port}/`, { method: "POST", body });
      } catch (error) {
        if (this.#child.exitCode !== null) throw new Error(`the server ended: ${this.#said}`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode) return resolve();
      this.#child.on("exit", () => resolve());
      this.#child.kill("SIGKILL");
    });
  }
}
