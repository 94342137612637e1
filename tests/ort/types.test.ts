/** Code in TypeScript for onnxruntime is code for wasmith/ort: the same lines are typed by both. Needs `npm run build`. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
// Inside the package, so that `wasmith` names this one.
const folder = join(root, "dist/test/ort");
const common = join(root, "tests/ort/node_modules/onnxruntime-common/dist/esm/index.js");
const isBuilt = existsSync(join(root, "dist/types/ort/index.d.ts"));
if (!isBuilt) console.warn("types of wasmith/ort are not tested: dist/ is not built (npm run build)");

const code = `
export const options: ort.InferenceSession.SessionOptions = {
  executionProviders: ["wasm", { name: "webgpu" }],
  graphOptimizationLevel: "all",
  freeDimensionOverrides: { batch: 1 },
  externalData: [{ path: "w.bin", data: new Uint8Array(4) }, "other.bin"],
};
export async function classify(url: string, pixels: Float32Array): Promise<number[]> {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/wasm/";
  ort.env.logLevel = "error";
  const session: ort.InferenceSession = await ort.InferenceSession.create(url, options);
  const [name = ""] = session.inputNames;
  const feeds: Record<string, ort.Tensor> = {};
  feeds[name] = new ort.Tensor("float32", pixels, [1, 3, 224, 224]);
  const ids: ort.TypedTensor<"int64"> = new ort.Tensor("int64", BigInt64Array.of(1n), [1]);
  feeds.ids = ids;
  const first: bigint | undefined = ids.data[0];
  const results: ort.InferenceSession.OnnxValueMapType = await session.run(feeds);
  const { logits } = await session.run(feeds, ["logits"], { tag: String(first) });
  const { dims, type, size, location } = logits;
  const kind: ort.Tensor.Type = type;
  for (const info of session.outputMetadata) if (info.isTensor) console.log(info.name, info.type, info.shape.length);
  console.log(dims.length, kind, size, location, Object.keys(results), (await logits.getData()).length, logits.reshape([-1]).dims);
  session.startProfiling();
  session.endProfiling();
  await session.release();
  logits.dispose();
  return Array.from(logits.data as Float32Array);
}
export async function fromBuffer(buffer: ArrayBuffer, fetches: ort.InferenceSession.FetchesType): Promise<ort.Tensor> {
  const session = await ort.InferenceSession.create(buffer, 0, buffer.byteLength, { enableProfiling: false });
  const flags = new ort.Tensor("bool", [true, false], [2]);
  const feeds: ort.InferenceSession.FeedsType = { flags, text: new ort.Tensor("string", ["a"]), f: new ort.Tensor(new Float32Array(2)) };
  const results: ort.InferenceSession.ReturnType = await session.run(feeds, fetches);
  return results.y;
}
`;

async function typed(name: string, specifier: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.ts`), `import * as ort from ${JSON.stringify(specifier)};\n${code}`);
  const compilerOptions = {
    target: "es2022",
    module: "nodenext",
    strict: true,
    noEmit: true,
    lib: ["es2023", "dom"],
    types: [],
    skipLibCheck: false,
  };
  const config = join(folder, `tsconfig.${name}.json`);
  writeFileSync(config, JSON.stringify({ compilerOptions, include: [`${name}.ts`] }));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, "--project", config]).catch(
    (error: { stdout: string }) => error,
  );
  return stdout;
}

describe.skipIf(!isBuilt)("code for onnxruntime", () => {
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("is typed by wasmith/ort", async () => {
    expect(await typed("wasmith", "wasmith/ort")).toBe("");
  });

  it.skipIf(!existsSync(common))("is typed by onnxruntime-common", async () => {
    expect(await typed("common", common)).toBe("");
  });
});
