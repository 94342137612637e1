import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { externalDataIn } from "../../compiler/onnx/external-data.js";
import { readExternalDataFrom } from "../../compiler/onnx/external-data-node.js";
import { decodeTensor } from "../../compiler/onnx/tensor.js";

let root: string;
let folder: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "wasmith-"));
  folder = join(root, "model");
  mkdirSync(join(folder, "sub"), { recursive: true });
  const bytes = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
  writeFileSync(join(folder, "w.bin"), bytes);
  writeFileSync(join(folder, "sub/w.bin"), bytes);
  writeFileSync(join(root, "secret.bin"), bytes);
  symlinkSync(join(root, "secret.bin"), join(folder, "link.bin"));
  symlinkSync(join(folder, "w.bin"), join(folder, "inside.bin"));
  symlinkSync(root, join(folder, "up"));
});
afterAll(() => rmSync(root, { recursive: true }));

function load(location: string, entries: Record<string, string> = {}, dims = [2]) {
  const externalData = Object.entries({ location, ...entries }).map(([key, value]) => ({ key, value }));
  const tensor = { dims, dataType: 1, dataLocation: 1, externalData };
  return decodeTensor(tensor, "initializer w", { external: readExternalDataFrom(folder) }).data;
}

describe("external data", () => {
  it("is read at its offset, also in subfolders and through links inside", () => {
    expect(load("w.bin")).toEqual(Float32Array.of(1, 2));
    expect(load("./w.bin", { offset: "8", length: "8" })).toEqual(Float32Array.of(3, 4));
    expect(load("sub/w.bin")).toEqual(Float32Array.of(1, 2));
    expect(load("inside.bin")).toEqual(Float32Array.of(1, 2));
  });

  it.each(["../secret.bin", "sub/../../secret.bin", "/etc/passwd", "C:\\x.bin", "..\\secret.bin", "a\0b", ""])(
    "refuses the path %j",
    (location) => {
      expect(() => load(location)).toThrow(/outside the model's folder|no location/);
    },
  );

  it("refuses links that lead outside", () => {
    expect(() => load("link.bin")).toThrow(/leads outside/);
    expect(() => load("up/secret.bin")).toThrow(/leads outside/);
  });

  it("checks sizes and kinds", () => {
    expect(() => load("w.bin", { offset: "12" })).toThrow(/needs bytes 12 to 20 of "w.bin", which has 16/);
    expect(() => load("w.bin", { length: "4" })).toThrow(/takes 8 bytes, but its external data has 4/);
    expect(() => load("w.bin", { offset: "-1" })).toThrow(/bad offset/);
    expect(() => load("none.bin")).toThrow(/is missing/);
    expect(() => load("sub")).toThrow(/not a regular file/);
    expect(() => load("w.bin", {}, [2 ** 40])).toThrow(/which has 16/);
  });

  it("comes from memory too", () => {
    const reader = externalDataIn({ "w.bin": new Uint8Array(Float32Array.of(5, 6).buffer) });
    const tensor = (location: string, n: number) => ({
      dims: [n],
      dataType: 1,
      dataLocation: 1,
      externalData: [{ key: "location", value: location }],
    });
    expect(decodeTensor(tensor("w.bin", 2), "w", { external: reader }).data).toEqual(Float32Array.of(5, 6));
    expect(() => decodeTensor(tensor("v.bin", 2), "w", { external: reader })).toThrow(/given: w.bin/);
    expect(() => decodeTensor(tensor("w.bin", 3), "w", { external: reader })).toThrow(/which has 8/);
    expect(() => decodeTensor(tensor("toString", 3), "w", { external: reader })).toThrow(/was not given/);
  });
});
