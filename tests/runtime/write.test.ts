/** Artefacts on disk: replaced as a whole, whoever is killed, whoever else writes, whatever their names. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { serialize } from "node:v8";
import { build } from "esbuild";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { writeArtifact, writeWhole } from "../../compiler/write.js";
import { openModule } from "../../runtime/container.js";
import { nameProblem } from "../../runtime/encode.js";
import { diskError } from "../../runtime/files.js";
import type { ArtifactParts } from "../../runtime/format.js";
import { load } from "../../runtime/index.js";
import { streamOf } from "../../runtime/stream.js";
import { workerFile } from "../setup/build-worker.js";
import { mainArtifact, mainExpected } from "./fixture.js";

/** How many writers are killed. */
const kills = Number(process.env.WASMITH_KILLS ?? 12);

const script = fileURLToPath(new URL(`write-${process.pid}.mjs`, workerFile));
let root: string;
let folder: string;
let old: ArtifactParts;
let next: ArtifactParts;

beforeAll(async () => {
  await build({
    entryPoints: [fileURLToPath(new URL("write-child.ts", import.meta.url))],
    outfile: script,
    bundle: true,
    format: "esm",
    platform: "node",
    logLevel: "warning",
  });
  root = mkdtempSync(join(tmpdir(), "wasmith-write-"));
  // Large enough that writing takes a while.
  old = await mainArtifact({ spin: 1, padding: 3_000_000 });
  next = await mainArtifact({ spin: 2, padding: 4_000_000, idleSteps: 1 });
  writeFileSync(
    join(root, "artifacts"),
    serialize([old, next].map(({ manifest, wasm, weights }) => ({ manifest, wasm, weights }))),
  );
});
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
  rmSync(script, { force: true });
});
beforeEach(() => {
  folder = mkdtempSync(join(root, "folder-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A user may mount disks where nobody else sees them, if the system allows it. */
const ownMounts = ["--user", "--map-root-user", "--mount"];
const noDisks = spawnSync("unshare", [...ownMounts, "mount", "-t", "tmpfs", "tmpfs", tmpdir()]).status !== 0;
if (noDisks)
  console.warn("the test of full and read-only disks is skipped: this system lets nobody mount one (unshare)");

function startWriter(count: number, prefix: readonly string[] = []): ChildProcess {
  const [command, ...args] = [...prefix, process.execPath, script, join(root, "artifacts"), folder, String(count)];
  return spawn(command!, args, { stdio: ["ignore", "pipe", "inherit"] });
}
const ended = (child: ChildProcess): Promise<number | null> => new Promise((resolve) => child.on("close", resolve));
/** All that the child writes. */
async function saidBy(child: ChildProcess): Promise<string> {
  let output = "";
  child.stdout!.on("data", (chunk) => {
    output += chunk;
  });
  await ended(child);
  return output;
}
/** The child's first line (it is ready), and one more for each write. */
const heard = (child: ChildProcess, lines: number): Promise<void> =>
  new Promise((resolve) => {
    let missing = lines;
    createInterface({ input: child.stdout! }).on("line", () => {
      if (--missing === 0) resolve();
    });
  });

/** Loads what is there, every variant and the weights, and runs it. */
async function expectWhole(): Promise<ArtifactParts> {
  const path = join(folder, "affine.wasm");
  const { manifest } = await openModule(streamOf(readFileSync(path)));
  const found = [old, next].find((a) => String(a.manifest.weights.hashes) === String(manifest.weights.hashes))!;
  expect(manifest).toEqual(found.manifest);
  const x = Float32Array.of(1, -2, 3);
  for (const variant of ["simd128", "simd128-threads"] as const) {
    const session = await load(path, { variant });
    expect((await session.run({ x })).y!.data).toEqual(mainExpected(x).y);
    session.dispose();
  }
  return found;
}

function expectOnly(artifact: ArtifactParts): void {
  const { variants, weights } = artifact.manifest;
  const files = [...variants.map((v) => v.file), weights.file, "affine.js", "affine.d.ts"];
  expect(readdirSync(folder).sort()).toEqual(files.sort());
}

describe("an artefact that replaces another", () => {
  it("leaves nothing of it, and nothing else is touched", async () => {
    const own = "affine.0123456789abcdef.notes";
    writeFileSync(join(folder, own), "");
    const paths = await writeArtifact(old, folder, {});
    expect(paths[0]).toBe(join(folder, "affine.wasm"));
    expect(readdirSync(folder).sort()).toEqual([...paths.map((p) => p.slice(folder.length + 1)), own].sort());
    await writeArtifact(next, pathToFileURL(`${folder}/`), {});
    rmSync(join(folder, own));
    expectOnly(next);
    expect(await expectWhole()).toBe(next);
    await writeArtifact(old, folder, { singleFile: true });
    expect(readdirSync(folder).sort()).toEqual(["affine.d.ts", "affine.js", "affine.wasm"]);
  });

  it(`is there as a whole, it or the other, whenever the writer is killed (${kills} times)`, async () => {
    await writeArtifact(old, folder, {});
    const seen = new Set<ArtifactParts>();
    for (let i = 0; i < kills; i++) {
      const child = startWriter(1000);
      const end = ended(child);
      await heard(child, 1 + (i % 3));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
      child.kill("SIGKILL");
      await end;
      seen.add(await expectWhole());
    }
    expect(seen.size).toBe(2);
    // What the killed ones left is gone after the next write.
    await writeArtifact(next, folder, {});
    expectOnly(next);
  });

  it("is whole when several write at once, in one process and in others", async () => {
    const children = [startWriter(20), startWriter(20)];
    const ends = children.map(ended);
    const writes = Array.from({ length: 10 }, (_, i) => writeArtifact(i % 2 ? old : next, folder, {}));
    await Promise.all([...writes, ...ends]);
    await expectWhole();
    await writeArtifact(old, folder, {});
    expectOnly(old);
  });
});

describe("a disk that does not take it", () => {
  it("gives a ModelError, and what was there stays", async () => {
    await writeArtifact(old, folder, {});
    // 1000 blocks of 1 KiB: less than the weights.
    const child = startWriter(1, ["bash", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "bash"]);
    expect(await saidBy(child)).toMatch(
      /ModelError: .*weights: can't be written: EFBIG: the file is larger than a limit allows\n {2}→ /,
    );
    expectOnly(old);

    writeFileSync(join(folder, "file"), "");
    await expect(writeArtifact(old, join(folder, "file"), {})).rejects.toThrow(/file: can't be made: .*→ /s);
    await expect(writeArtifact(old, join(folder, "file/sub"), {})).rejects.toThrow(/can't be made: .*→ /s);
    mkdirSync(join(folder, "taken"));
    await expect(writeWhole(join(folder, "taken"), Uint8Array.of(1))).rejects.toThrow(/taken: can't be written: .*→ /s);
    await expect(writeWhole(join(folder, "no/where"), Uint8Array.of(1))).rejects.toThrow(/its folder does not exist/);
    await expect(writeArtifact(old, join(folder, "x".repeat(4000)), {})).rejects.toThrow(
      /too long for the file system/,
    );
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    await expectWhole();
  });

  // In a mount namespace of its own, where a disk of 6 MB lies over the folder: the old artefact fits, the new one beside it does not.
  it.skipIf(noDisks)("is really full, or really read-only", async () => {
    const kept = mkdtempSync(join(root, "kept-"));
    const mounts =
      'at=$1 kept=$2; shift 2; mount -t tmpfs -o size=6m tmpfs "$at" && "$@" 2; mount -o remount,ro "$at" && "$@" 1; cp -a "$at/." "$kept"';
    const output = await saidBy(
      spawn("unshare", [
        ...ownMounts,
        "bash",
        "-c",
        mounts,
        "bash",
        folder,
        kept,
        process.execPath,
        script,
        join(root, "artifacts"),
        folder,
      ]),
    );
    const place = folder.replace(/[/\\.]/g, "\\$&");
    const said = (place: string, cause: string) =>
      `ModelError: ${place}: can't be written: ${cause}\n {2}→ (free some space, or )?choose another folder\n`;
    expect(output).toMatch(
      new RegExp(
        `^ready\n0\n${said(`${place}/affine\\.[0-9a-f]+\\.weights`, "ENOSPC: the disk is full")}` +
          `ready\n${said(`${place}/affine\\.[^:]*`, "EROFS: the file system is read-only")}$`,
      ),
    );
    // Nothing of the new one is left, temporaries included, and what was there is whole.
    cpSync(kept, folder, { recursive: true });
    expectOnly(old);
    expect(await expectWhole()).toBe(old);
  });

  it.each(["ENOSPC", "EROFS", "EDQUOT", "EACCES"])("has words for %s", (code) => {
    const make = (where: string, message: string, hint?: string): Error => new Error([where, message, hint].join("|"));
    const cause = Object.assign(new Error("raw"), { code });
    expect(diskError("a", "written", cause, make as never).message).toMatch(
      /^a\|can't be written: E[A-Z]+: (the|permission) .*\|(free|choose)/,
    );
  });
});

describe("names of artefacts", () => {
  it.each(["a#b", "a?b", "100%", "%41", "two words", "ü", "x".repeat(200), "a.b", "..", "-x"])(
    "%s works",
    async (name) => {
      const artifact = await mainArtifact({ name });
      const paths = await writeArtifact(artifact, folder, {});
      const session = await load(paths[0]!, { threads: 2 });
      expect((await session.run({ x: Float32Array.of(1, 2, 3) })).y!.data[0]).toBe(3);
      session.dispose();
      const glue = readFileSync(join(folder, `${name}.js`), "utf8");
      const url = /new URL\((".*?"), import/.exec(glue)![1]!;
      expect(fileURLToPath(new URL(JSON.parse(url), pathToFileURL(`${folder}/`)))).toBe(paths[0]);
    },
  );

  it.each(["", "a/b", "a\\b", "a:b", "a\0b", "a\nb", "\ud800", "x".repeat(4000), "ü".repeat(101), 5])(
    "%j is refused",
    (name) => {
      expect(nameProblem(name as string)?.hint).toMatch(/^choose one/);
    },
  );
});
