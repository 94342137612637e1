/**
 * The team's barrier: raw wasm, since Loop IR has no atomics. A generation counter in a control block at a fixed address of
 * the shared memory; the last thread to arrive starts the next generation. Waiting threads poll first and then sleep, unless
 * their global `can_block` is 0 (a browser's main thread may not sleep and goes on spinning).
 */

import { wordArrived, wordGeneration, wordPoison, wordSleepers } from "../../runtime/format.js";
import type { Ref, WasmModule } from "./module.js";

/** Byte addresses of the barrier's words. */
const at = {
  arrived: 4 * wordArrived,
  generation: 4 * wordGeneration,
  poison: 4 * wordPoison,
  sleepers: 4 * wordSleepers,
};

/** Exported mutable i32 global: 1 where the thread of this instance may sleep (workers, Node), 0 by default. */
export const canBlockExport = "can_block";

export const barrierName = "team_barrier";

/**
 * How many times a thread polls before it sleeps, from about 10 µs to 0.5 ms. A sleep and a wake-up through the operating system cost tens of
 * µs, so where all threads have a core of their own it pays to wait for kernels that are longer than that; where they have not, whoever
 * polls keeps from its core the thread that is waited for. So a wait that was worth it makes the next one more patient, one
 * that ended in sleep less.
 */
const spins = { least: 2000, most: 100_000 };
/** Mutable i32 global: the polls of this thread's next wait. */
const patience = "patience";

export function addBarrier(m: WasmModule): void {
  const [threads, mine, left] = [0, 1, 2];
  m.addGlobal(patience, spins.most);
  const current = () => m.globalGet(patience);
  const isBelow = (value: number) => m.op("i32.lt_u", current(), m.i32(value));
  const morePatient = m.if(isBelow(spins.most), m.globalSet(patience, m.op("i32.shl", current(), m.i32(1))));
  const lessPatient = m.if(
    m.op("i32.eqz", isBelow(4 * spins.least)),
    m.globalSet(patience, m.op("i32.shr_u", current(), m.i32(2))),
  );
  const get = (local: number): Ref => m.get(local, "i32");
  const stillWaiting = () => m.op("i32.eq", m.atomicLoad(at.generation), get(mine));
  const trapIfPoisoned = () => m.if(m.atomicLoad(at.poison), m.unreachable());

  const release = m.sequence([
    m.atomicStore(at.arrived, m.i32(0)),
    m.atomicStore(at.generation, m.op("i32.add", get(mine), m.i32(1))),
    // A sleeper counts itself before it compares the generation, so either it is seen here or it does not sleep.
    m.if(m.atomicLoad(at.sleepers), m.drop(m.atomicNotifyAll(at.generation))),
    m.return(),
  ]);
  const spin = m.loop(
    "spin",
    m.sequence([
      m.if(m.op("i32.eqz", stillWaiting()), m.sequence([trapIfPoisoned(), morePatient, m.return()])),
      trapIfPoisoned(),
      m.set(left, m.op("i32.sub", get(left), m.i32(1))),
      m.brIf("spin", m.op("i32.or", get(left), m.op("i32.eqz", m.globalGet(canBlockExport)))),
    ]),
  );
  const sleep = m.loop(
    "sleep",
    m.sequence([m.drop(m.atomicWait(at.generation, get(mine))), trapIfPoisoned(), m.brIf("sleep", stillWaiting())]),
  );
  const lastToArrive = m.op("i32.eq", m.atomicAdd(at.arrived, m.i32(1)), m.op("i32.sub", get(threads), m.i32(1)));
  const body = m.sequence([
    m.if(m.op("i32.le_s", get(threads), m.i32(1)), m.return()),
    m.set(mine, m.atomicLoad(at.generation)),
    trapIfPoisoned(),
    m.if(lastToArrive, release),
    m.set(left, current()),
    spin,
    lessPatient,
    m.drop(m.atomicAdd(at.sleepers, m.i32(1))),
    sleep,
    m.drop(m.atomicAdd(at.sleepers, m.i32(-1))),
  ]);
  m.addFunction(barrierName, ["i32"], undefined, ["i32", "i32"], body);
}
