import { afterEach, describe, expect, it, vi } from "vitest";
import { checkTime, withinSeconds } from "../../ir/deadline.js";

afterEach(() => vi.restoreAllMocks());

/** Puts the clock, and the processor time of the process, ahead by so many seconds. */
function ahead(clock: number, processor: number): void {
  const [at, { user, system }] = [performance.now(), process.cpuUsage()];
  vi.spyOn(performance, "now").mockImplementation(() => at + clock * 1000);
  vi.spyOn(process, "cpuUsage").mockImplementation(() => ({ user: user + processor * 1e6, system }));
}

describe("a time budget", () => {
  const within = (clock: number, processor: number) => () =>
    withinSeconds(5, "the work", () => {
      ahead(clock, processor);
      checkTime("a node");
    });

  it("counts what the process works, not how long it was stopped", () => {
    expect(within(100, 1)).not.toThrow();
    expect(within(100, 6)).toThrow("a node: the work took longer than 5 s");
  });

  it("counts no more than has gone by, whatever other threads work", () => {
    expect(within(1, 100)).not.toThrow();
  });

  it("ends no later than the one that it is in", () => {
    const inner = (seconds: number) => () =>
      withinSeconds(5, "all", () =>
        withinSeconds(seconds, "a part", () => {
          ahead(7, 7);
          checkTime();
        }),
      );
    expect(inner(2)).toThrow("a part took longer than 2 s");
    expect(inner(50)).toThrow("all took longer than 5 s");
  });
});
