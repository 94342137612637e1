/** Peak memory of processes. */
import { readFileSync } from "node:fs";

/**
 * Most memory, in bytes, that a process has had since its program began. Linux tells that of its parent as maxRSS, where this was larger.
 * @param {number | "self"} pid
 * @returns {number}
 */
export function peakMemory(pid = "self") {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
  } catch (error) {
    // Other systems have no such file, and can ask for a process's own alone.
    if (pid !== "self") throw error;
    return process.resourceUsage().maxRSS * 1024;
  }
}
