export function peakMemory(pid?: number | "self"): number;
