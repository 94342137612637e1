/**
 * What a run asks of who started it (`HostFn` of ir/loop.ts), in raw wasm. The words of the control block that are read here are
 * described in runtime/format.ts.
 */

import type { HostFn } from "../../ir/loop.js";
import { pageBytes, pollImport, wordLimit, wordNeeded, wordPoison, wordPoll } from "../../runtime/format.js";
import type { WasmModule } from "./module.js";

/** Names of the functions in the module. */
export const hostName: Readonly<Record<HostFn, string>> = {
  poll: "host_poll",
  reserve: "host_reserve",
  read: "fd_read",
  write: "fd_write",
  exit: "host_exit",
};

/** Who starts runs: the runtime, or the system that a command runs in. */
export type Host = "runtime" | "wasi";

export function addHost(m: WasmModule, fn: HostFn, threads: boolean, host: Host): void {
  if (fn === "reserve") addReserve(m);
  else if (fn === "read" || fn === "write") m.importFunction(hostName[fn], ["i32", "i32", "i32", "i32"], "i32");
  else if (fn === "exit") addExit(m);
  // A command runs to its end.
  else if (host === "wasi") m.addFunction(hostName.poll, [], "i32", [], m.i32(0));
  else if (threads) addTeamPoll(m);
  else addPoll(m);
}

/** Threads are stopped from outside: by the word that also frees them when one of them traps. */
function addTeamPoll(m: WasmModule): void {
  const body = [m.if(m.atomicLoad(4 * wordPoison), m.unreachable()), m.i32(0)];
  m.addFunction(hostName.poll, [], "i32", [], m.sequence(body));
}

/** A lone thread keeps everybody out, so it asks; but only where somebody wants to be asked. */
function addPoll(m: WasmModule): void {
  m.importFunction(pollImport, [], "i32");
  const wanted = m.access("i32.load", 4 * wordPoll, 4, m.address(0));
  const body = [m.if(m.op("i32.eqz", wanted), m.return(m.i32(0))), m.call(pollImport, [], "i32")];
  m.addFunction(hostName.poll, [], "i32", [], m.sequence(body));
}

function addExit(m: WasmModule): void {
  m.importFunction("proc_exit", ["i32"], undefined);
  const body = [m.call("proc_exit", [m.get(0, "i32")], undefined), m.i32(0)];
  m.addFunction(hostName.exit, ["i32"], "i32", [], m.sequence(body));
}

function addReserve(m: WasmModule): void {
  const [bytes, pages] = [0, 1];
  const get = () => m.get(pages, "i32");
  const inPages = m.op("f64.div", m.get(bytes, "f64"), m.f64(pageBytes));
  const body = [
    m.set(pages, m.op("i32.trunc_sat_f64_u", m.op("f64.ceil", inPages))),
    m.access("i32.store", 4 * wordNeeded, 4, m.address(0), get()),
    m.if(m.op("i32.gt_u", get(), m.access("i32.load", 4 * wordLimit, 4, m.address(0))), m.return(m.i32(0))),
    m.if(m.op("i32.le_u", get(), m.memorySize()), m.return(m.i32(1))),
    m.op("i32.ne", m.memoryGrow(m.op("i32.sub", get(), m.memorySize())), m.i32(-1)),
  ];
  m.addFunction(hostName.reserve, ["f64"], "i32", ["i32"], m.sequence(body));
}
