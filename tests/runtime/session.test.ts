import { describe, expect, it } from "vitest";
import { wordJob } from "../../runtime/format.js";
import { load, type Session } from "../../runtime/index.js";
import { type MainOptions, mainArtifact, mainExpected } from "./fixture.js";

const randomX = (n: number): Float32Array =>
  Float32Array.from({ length: n * 3 }, (_, i) => Math.fround(Math.sin(i * 7.3) * 10));

async function withSession<T>(
  body: (session: Session) => Promise<T>,
  { threads = 1, background = false, ...options }: MainOptions & { threads?: number; background?: boolean } = {},
): Promise<T> {
  const session = await load(await mainArtifact(options), { threads, background });
  try {
    return await body(session);
  } finally {
    session.dispose();
  }
}

describe.each([
  { threads: 1, background: false },
  { threads: 2, background: false },
  { threads: 1, background: true },
  { threads: 2, background: true },
])("a session with $threads threads, in the background: $background", ({ threads, background }) => {
  it("runs with any batch size and gives memory a fixed bound", async () => {
    await withSession(
      async (session) => {
        expect(session.report).toMatchObject({
          threads,
          variant: threads === 1 && !background ? "simd128" : "simd128-threads",
          notes: [],
        });
        const held: number[] = [];
        for (let round = 0; round < 3; round++) {
          for (const n of [1, 7, 3, 9000, 0, 5, 5, 1234]) {
            const x = randomX(n);
            const out = await session.run({ x: { dtype: "f32", shape: [n, 3], data: x } });
            const want = mainExpected(x);
            expect(out.y).toEqual({ dtype: "f32", shape: [n, 3], data: want.y });
            expect(out.z?.data).toEqual(want.z);
            expect(out.p).toEqual({ dtype: "f32", shape: [want.p.length], data: want.p });
          }
          held.push(session.memoryBytes);
        }
        expect(new Set(held).size).toBe(1);
      },
      { threads, background },
    );
  });

  it("takes what was written to an input's own place, of any size, without a copy", async () => {
    await withSession(
      async (session) => {
        for (const n of [4, 1, 9000, 0, 7]) {
          const view = await session.input("x", [n, 3]);
          expect(view).toMatchObject({ dtype: "f32", shape: [n, 3] });
          for (let round = 0; round < 3; round++) {
            const x = randomX(n).map((v) => v + round);
            (view.data as Float32Array).set(x);
            const { y, z } = await session.run({ x: view });
            expect(y).toEqual({ dtype: "f32", shape: [n, 3], data: mainExpected(x).y });
            expect(z?.data).toEqual(mainExpected(x).z);
          }
        }
        // A view from before, at another place or of memory that has grown since, is copied or refused, and never read amiss.
        const before = await session.input("x", [2, 3]);
        await session.run({ x: { dtype: "f32", shape: [50_000, 3], data: randomX(50_000) } });
        if (before.data.length === 0) {
          await expect(session.run({ x: before })).rejects.toThrow(
            /input "x": expected f32\[n, 3\], got shape \[2,3\] with 0 elements/,
          );
        } else {
          const x = randomX(2);
          (before.data as Float32Array).set(x);
          expect((await session.run({ x: before })).y?.data).toEqual(mainExpected(x).y);
        }
        expect((await session.input("x", undefined, { dims: { n: 5 } })).shape).toEqual([5, 3]);
        await expect(session.input("q")).rejects.toThrow(/input "q": the model has no such input\n.*its inputs are: x/);
        await expect(session.input("x")).rejects.toThrow(
          /the size of dim "n" is not known\n.*pass its shape, or the option dims/,
        );
        await expect(session.input("x", [4, 2])).rejects.toThrow(/expected f32\[n, 3\], got \[4, 2\]/);
        await expect(session.input("x", [-1, 3])).rejects.toThrow(/dim "n" is -1, outside its range/);
        await expect(session.input("x", [4, 3], { entry: "nope" })).rejects.toThrow(/no entry "nope"/);
      },
      { threads, background },
    );
  });

  it("warms up on zeros or feeds of any size, and answers as ever", async () => {
    await withSession(
      async (session) => {
        const x = randomX(7);
        const want = mainExpected(x).y;
        const took = [
          await session.warmUp({ maxSeconds: 0.2 }),
          await session.warmUp({ dims: { n: 7 }, maxSeconds: 0.01 }),
          await session.warmUp({ feeds: { x }, maxSeconds: 0.01 }),
        ];
        for (const ms of took) expect(ms).toBeGreaterThan(0);
        expect((await session.run({ x })).y?.data).toEqual(want);
        const aborted = session.warmUp({ maxSeconds: 60, signal: AbortSignal.abort(new Error("enough")) });
        await expect(aborted).rejects.toThrow("enough");
        await expect(session.warmUp({ dims: { m: 7 } })).rejects.toThrow(
          /option dims: .* no dim "m"\n.*its dims are: n/,
        );
        await expect(session.warmUp({ dims: { n: -7 } })).rejects.toThrow(/dim "n" is -7, outside its range/);
        await expect(session.warmUp({ entry: "nope" })).rejects.toThrow(/no entry "nope"/);
        await expect(session.warmUp({ times: 3 } as never)).rejects.toThrow(/times/);
      },
      { threads, background },
    );
  });

  it("infers a shape from a bare array, returns the outputs asked for, and views where they are wanted", async () => {
    await withSession(
      async (session) => {
        const x = randomX(4);
        const { z, ...rest } = await session.run({ x }, { outputs: ["z"] });
        expect(rest).toEqual({});
        expect(z?.shape).toEqual([4, 3]);
        const { y } = await session.run({ x }, { reuse: true });
        expect(y?.data.buffer.byteLength).toBe(session.memoryBytes);
        expect(Array.from(y?.data as Float32Array)).toEqual(Array.from(mainExpected(x).y));
      },
      { threads, background },
    );
  });

  it("queues concurrent runs", async () => {
    await withSession(
      async (session) => {
        const inputs = [3, 1, 8, 2].map(randomX);
        const results = await Promise.all(inputs.map((x) => session.run({ x })));
        results.forEach((r, i) => {
          expect(r.z?.data).toEqual(mainExpected(inputs[i]!).z);
        });
      },
      { threads, background },
    );
  });

  it("stops between kernels when aborted, and can be used again", async () => {
    await withSession(
      async (session) => {
        const x = randomX(10);
        const reason = new Error("enough");
        await expect(session.run({ x }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
        const controller = new AbortController();
        setTimeout(() => controller.abort(reason), 30);
        await expect(session.run({ x }, { signal: controller.signal })).rejects.toBe(reason);
        const { z } = await session.run({ x }, { signal: new AbortController().signal, outputs: ["z"] });
        expect(z?.data).toEqual(mainExpected(x).z);
      },
      { threads, background, idleSteps: 100, spin: 3_000_000 },
    );
  });

  it("turns a trap into an error that names the place, and goes on", async () => {
    await withSession(
      async (session) => {
        for (let thread = 0; thread < threads; thread++) {
          const bad = Float32Array.from({ length: 300 }, () => 1234 + thread);
          await expect(session.run({ x: bad })).rejects.toThrow(
            /"main" trapped in layer0, layer1, layer2: .*unreachable/,
          );
          const x = randomX(50);
          expect((await session.run({ x })).z?.data).toEqual(mainExpected(x).z);
        }
      },
      { threads, background },
    );
  });

  it("refuses to run after dispose, and rejects the run under way", async () => {
    const session = await load(await mainArtifact({ idleSteps: 100, spin: 3_000_000 }), { threads, background });
    const running = session.run({ x: randomX(1) }, { signal: new AbortController().signal });
    setTimeout(() => session.dispose(), 20);
    await expect(running).rejects.toThrow("session: it was disposed while running");
    await expect(session.run({ x: randomX(1) })).rejects.toThrow("session: it was disposed");
    expect(session.memoryBytes).toBe(0);
    session.dispose();
  });

  it("profiles by layer", async () => {
    await withSession(
      async (session) => {
        const rows = await session.profile({ x: randomX(1000) }, { repeat: 3 });
        expect(rows.map((r) => r.name)).toEqual(["layer0", "layer1", "layer2"]);
        expect(rows.every((r) => r.ms >= 0 && r.kernel === "f32_fixture")).toBe(true);
      },
      { threads, background },
    );
  });
});

describe("sessions", () => {
  it("give the same bits for any number of threads", async () => {
    const x = randomX(1000);
    const all = await Promise.all([1, 2, 3, 5].map((threads) => withSession((s) => s.run({ x }), { threads })));
    for (const other of all.slice(1)) expect(other).toEqual(all[0]);
  });

  it("are independent of one another", async () => {
    const artifact = await mainArtifact();
    const sessions = await Promise.all([1, 2, 1, 2].map((threads) => load(artifact, { threads })));
    const inputs = [5, 6, 7, 8].map(randomX);
    const results = await Promise.all(sessions.map((s, i) => s.run({ x: inputs[i]! })));
    results.forEach((r, i) => {
      expect(r.y?.data).toEqual(mainExpected(inputs[i]!).y);
    });
    for (const s of sessions) s.dispose();
  });

  it("say what goes in and out", async () => {
    await withSession(async (session) => {
      expect(session.inputs).toEqual([{ name: "x", dtype: "f32", shape: ["n", 3] }]);
      expect(session.outputs.map((o) => o.shape)).toEqual([["n", 3], ["n", 3], ["positive"]]);
      expect(session.dims).toMatchObject([{ name: "n", min: 0, max: null }]);
    });
  });

  it("name an input that does not fit, what was expected and what to do", async () => {
    await withSession(
      async (session) => {
        const cases: [unknown, RegExp][] = [
          [null, /feeds: expected an object of inputs by name, got null\n {2}→ pass { x }/],
          [new Float32Array(3), /feeds: expected an object of inputs by name, got Float32Array of length 3/],
          [{}, /input "x": missing; expected f32\[n, 3\]/],
          [
            { X: new Float32Array(3) },
            /2 problems:\n- input "X": the model has no such input\n {2}→ its inputs are: x\n- input "x": missing/,
          ],
          [
            { x: [1, 2, 3] },
            /input "x": expected f32\[n, 3\], got Array of length 3\n {2}→ pass { dtype, shape, data } or a typed array/,
          ],
          [{ x: null }, /input "x": expected f32\[n, 3\], got null/],
          [
            { x: new Float64Array(3) },
            /input "x": expected f32\[n, 3\], got Float64Array of length 3\n {2}→ f32 elements come in a Float32Array/,
          ],
          [{ x: { dtype: "f64", shape: [1, 3], data: new Float64Array(3) } }, /got dtype "f64"/],
          [
            { x: { dtype: "f32", shape: [1, 4], data: new Float32Array(4) } },
            /input "x": expected f32\[n, 3\], got f32\[1, 4\]/,
          ],
          [
            { x: { dtype: "f32", shape: [3], data: new Float32Array(3) } },
            /input "x": expected f32\[n, 3\], got f32\[3\]/,
          ],
          [{ x: { dtype: "f32", shape: [2, 3], data: new Float32Array(5) } }, /shape \[2,3\] with 5 elements of data/],
          [{ x: { dtype: "f32", shape: [-1, 3], data: new Float32Array(3) } }, /got shape Array of length 2/],
          [{ x: new Float32Array(4) }, /input "x": expected f32\[n, 3\], that is a multiple of 3 elements, got 4/],
          [{ x: new Float32Array(303) }, /input "x": dim "n" is 101, outside its range \[0, 100\]/],
        ];
        for (const [feeds, message] of cases) await expect(session.run(feeds as never)).rejects.toThrow(message);
        await expect(session.run({ x: randomX(1) }, { outputs: ["q"] })).rejects.toThrow(
          /no output "q"\n {2}→ the outputs are: y, z, p/,
        );
        const shaped = { dtype: "f32", shape: [1, 3], data: randomX(1) } as const;
        await expect(session.run({ x: shaped }, { dims: { n: 2 } })).rejects.toThrow(
          /dim "n" is 1 here, but 2 in option dims/,
        );
        await expect(session.run({ x: randomX(1) }, { dims: { m: 2 } })).rejects.toThrow(/the model has no dim "m"/);
      },
      { maxN: 100 },
    );
  });

  it("in the background let the event loop go on during a run", async () => {
    const session = await load(await mainArtifact({ idleSteps: 100, spin: 3_000_000 }), { background: true });
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    await session.run({ x: randomX(1) });
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(1);
    const running = session.run({ x: randomX(1) });
    setTimeout(() => session.dispose(), 20);
    await expect(running).rejects.toThrow("session: it was disposed while running");
    const single = await load(await mainArtifact({ variants: ["simd128"] }), { background: true, threads: 2 });
    expect(single.report.notes).toEqual([
      "1 thread instead of 2, not in the background: the artefact was compiled without threads",
    ]);
    single.dispose();
  });

  it("keep to the memory they are given", async () => {
    const artifact = await mainArtifact();
    const session = await load(artifact, { maxMemoryBytes: 2 ** 20 });
    await expect(session.run({ x: new Float32Array(300_000) })).rejects.toThrow(
      /memory: a run with n=100000 needs 4\.6 MiB, maxMemoryBytes allows 1\.0 MiB/,
    );
    expect((await session.run({ x: randomX(2) })).y?.shape).toEqual([2, 3]);
    expect(session.memoryBytes).toBe(65536);
    await expect(load(artifact, { maxMemoryBytes: 1000 })).rejects.toThrow(
      /option maxMemoryBytes: the model alone takes/,
    );
    session.dispose();
  });

  it("choose a variant and say why not another", async () => {
    const threaded = await load(await mainArtifact({ variants: ["simd128-threads"] }));
    expect(threaded.report).toMatchObject({ variant: "simd128-threads", threads: 1, notes: [] });
    const single = await load(await mainArtifact({ variants: ["simd128"] }), { threads: 2 });
    expect(single.report).toMatchObject({
      threads: 1,
      notes: ["1 thread instead of 2: the artefact was compiled without threads"],
    });
    const relaxed = await load(await mainArtifact({ variants: ["simd128", "relaxed"] }), { deterministic: true });
    expect(relaxed.report).toMatchObject({
      variant: "simd128",
      notes: [`variant "relaxed" is not used: deterministic: true`],
    });
    const artifact = await mainArtifact({ variants: ["simd128"] });
    await expect(load(artifact, { variant: "relaxed" })).rejects.toThrow(
      /"relaxed" is not in the artefact\n {2}→ it has: simd128/,
    );
    const many = await load(await mainArtifact(), { threads: 20 });
    expect(many.report).toMatchObject({
      threads: 16,
      notes: ["16 threads instead of 20: the artefact was compiled for no more"],
    });
    await expect(load(artifact, { threads: 0 })).rejects.toThrow(/option threads: expected "auto" or an integer/);
    for (const s of [threaded, single, relaxed, many]) s.dispose();
  });

  it("are disposed where a block that uses them ends", async () => {
    let kept: Session | undefined;
    {
      using session = await load(await mainArtifact());
      kept = session;
      await session.run({ x: randomX(3) });
    }
    expect(kept.memoryBytes).toBe(0);
    await expect(kept.run({ x: randomX(3) })).rejects.toThrow(/it was disposed/);
  });

  it("report a worker that ends while it should run", async () => {
    const answer = `import { parentPort } from "node:worker_threads";
      parentPort.on("message", () => { parentPort.postMessage(null); setTimeout(() => process.exit(3), 50); });`;
    const workerUrl = new URL(`data:text/javascript,${encodeURIComponent(answer)}`);
    const session = await load(await mainArtifact({}), { threads: 1, background: true, workerUrl });
    await expect(session.run({ x: randomX(3) })).rejects.toThrow(
      /threads: a worker ended: it exited with code 3\n {2}→ load the artefact again/,
    );
    await expect(session.run({ x: randomX(3) })).rejects.toThrow(/a worker ended/);
    session.dispose();
  });

  it("report a worker that does not start", async () => {
    const artifact = await mainArtifact();
    const workerUrl = new URL("./no-such-worker.js", import.meta.url);
    await expect(load(artifact, { threads: 2, workerUrl })).rejects.toThrow(
      /threads: a worker did not start: .*\n {2}→ say where worker.js lies/s,
    );
  });
});

it("wakes no team for runs that are faster on one thread, and asks again as it goes on", async () => {
  await withSession(
    async (session) => {
      const { machine } = session as unknown as { readonly machine: { readonly bytes: Uint8Array } };
      const jobs = () => new Int32Array(machine.bytes.buffer)[wordJob]!;
      const x = randomX(2);
      for (let i = 0; i < 60; i++) expect((await session.run({ x })).z?.data).toEqual(mainExpected(x).z);
      const before = jobs();
      expect(before).toBeGreaterThan(0);
      await session.run({ x });
      expect(jobs()).toBe(before);
      // The engine may have optimised the code since.
      for (let i = 61; i < 70; i++) await session.run({ x });
      expect(jobs()).toBeGreaterThan(before);
      // Other sizes are other runs.
      const again = jobs();
      const long = randomX(5000);
      expect((await session.run({ x: long })).z?.data).toEqual(mainExpected(long).z);
      expect(jobs()).toBeGreaterThan(again);
    },
    { threads: 2 },
  );
});
