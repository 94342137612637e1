/** What installing takes: packages and bytes, from the tarballs that are published. */
import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { losses, nn, optim, trainStep } from "../../index.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const isBuilt = existsSync(join(root, "packages/runtime/dist/runtime.js"));
if (!isBuilt) console.warn("installing is not tested: dist/ is not built (npm run build)");

const runtimeLimit = 100 * 1024;
const compilerLimit = 25 * 2 ** 20;
const mostPackages = 8;

const bytesIn = (path: string): number =>
  statSync(path).isFile()
    ? statSync(path).size
    : readdirSync(path).reduce((sum, name) => sum + bytesIn(join(path, name)), 0);

/** What is installed in a folder, by path. */
const packagesIn = (folder: string): string[] => {
  const { packages } = JSON.parse(readFileSync(join(folder, "node_modules/.package-lock.json"), "utf8")) as {
    packages: object;
  };
  return Object.keys(packages);
};

describe.skipIf(!isBuilt)("installed in an empty folder,", () => {
  let folder: string;
  let tarballs: { readonly wasmith: string; readonly runtime: string };
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "wasmith-install-"));
    const pack = async (from: string): Promise<string> => {
      const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], {
        cwd: join(root, from),
      });
      return join(folder, (JSON.parse(stdout) as [{ filename: string }])[0].filename);
    };
    tarballs = { wasmith: await pack("."), runtime: await pack("packages/runtime") };
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** An empty project with these packages, from tarballs and npm's cache. */
  const install = async (name: string, dependencies: Readonly<Record<string, string>>): Promise<string> => {
    const project = join(folder, name);
    mkdirSync(project);
    writeFileSync(join(project, "package.json"), JSON.stringify({ type: "module", private: true, dependencies }));
    await run("npm", ["install", "--offline", "--no-audit", "--no-fund"], { cwd: project });
    return project;
  };

  it("the runtime is one package of at most 100 KB, under both names", async () => {
    const project = await install("runtime", {
      "wasmith-runtime": `file:${tarballs.runtime}`,
      wasmith: `file:${tarballs.runtime}`,
    });
    expect(packagesIn(project)).toEqual(["node_modules/wasmith", "node_modules/wasmith-runtime"]);
    expect(bytesIn(join(project, "node_modules/wasmith-runtime"))).toBeLessThanOrEqual(runtimeLimit);
    const step = trainStep(nn.sequential(nn.Linear(2, 1)), {
      inputs: { x: ["batch", 2] },
      targets: { y: ["batch", 1] },
      loss: losses.mse(),
      optimizer: optim.SGD({ lr: 0.1 }),
    });
    await (await compile(step, { variants: ["simd128"], name: "model" })).write(project);
    writeFileSync(
      join(project, "use.ts"),
      `import { load, type TrainingSession } from "wasmith-runtime";
import { load as same } from "wasmith/runtime";

const session: TrainingSession = await load<TrainingSession>("model.wasm");
const batch = { x: Float32Array.of(1, 2), y: Float32Array.of(3) };
const first: number = (await session.step(batch)).loss;
const { loss } = await session.step(batch);
const why: string = await session.fit(batch, { epochs: 1 }).then(String, (error: Error) => error.message);
const again = await same<TrainingSession>("model.wasm");
await again.restore(await session.save());
console.log(loss < first, (await again.step(batch)).loss < loss, why.split("\\n")[0]);
`,
    );
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const flags = [
      "--ignoreConfig",
      "--strict",
      "--target",
      "es2022",
      "--module",
      "nodenext",
      "--lib",
      "esnext,dom",
      "--types",
      "",
    ];
    await run(process.execPath, [tsc, ...flags, "use.ts"], { cwd: project });
    expect((await run(process.execPath, ["use.js"], { cwd: project })).stdout).toBe(
      "true true fit, evaluate: not part of wasmith-runtime\n",
    );
  });

  it("the compiler is at most 8 packages and 25 MB, and its command runs", async (context) => {
    let project: string;
    try {
      project = await install("compiler", { wasmith: `file:${tarballs.wasmith}` });
    } catch (error) {
      if (!/ENOTCACHED/.test(String((error as { stderr?: unknown }).stderr))) throw error;
      console.warn("installing the compiler is not tested: npm's cache does not have what it depends on");
      return context.skip();
    }
    const packages = packagesIn(project);
    expect(packages.length).toBeLessThanOrEqual(mostPackages);
    expect(packages.reduce((sum, path) => sum + bytesIn(join(project, path)), 0)).toBeLessThanOrEqual(compilerLimit);
    const { stdout } = await run(process.execPath, ["node_modules/wasmith/dist/cli.js", "--version"], { cwd: project });
    expect(stdout.trim()).toBe(
      (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version,
    );
  });

  it("both have the same version", () => {
    const [one, other] = ["package.json", "packages/runtime/package.json"].map(
      (path) => (JSON.parse(readFileSync(join(root, path), "utf8")) as { version: string }).version,
    );
    expect(one).toBe(other);
  });
});
