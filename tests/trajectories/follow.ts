/** Follows a recorded training run step by step in compiled wasm. */

import { join } from "node:path";
import { type Artifact, compile } from "../../index.js";
import { load, type Session, type Tensor, type VariantId } from "../../runtime/index.js";
import { dataFolder, readJson, readTensors } from "../nn/reference-data.js";
import { finalDisagreement, sliceOf, type Trajectory } from "../nn/trajectory.js";
import { systems } from "./systems.js";

interface Recorded extends Omit<Trajectory, "series"> {
  readonly series: Readonly<Record<string, { readonly values: readonly number[]; readonly atol: number }>>;
}

/** Names of series that the programs give under another name, since a module is called so. */
const renamed: Readonly<Record<string, Readonly<Record<string, string>>>> = { retinanet_focal: { box: "boxLoss" } };

/**
 * After how many steps losses and final state say nothing, and why: a ReLU's input lies within rounding of 0, so that the sum's order
 * decides its gradient.
 */
const kinks: Readonly<Record<string, number>> = { resnet_bn_sgd: 14 };

export interface Followed {
  readonly departures: readonly string[];
  /** All series as one text: equal exactly when all bits are. */
  readonly bits: string;
  readonly used: string;
  readonly steps: number;
}

export const compiled = (name: string, variants: readonly VariantId[]): Promise<Artifact> =>
  compile(systems[name]!(), { variants });

type Step = (feeds: Feeds) => Promise<Readonly<Record<string, Tensor | number>>>;

export interface FollowOptions {
  /** Steps to follow at most; the final state is compared after all only. */
  readonly most?: number;
  /** Which of the recorded series the program gives. Default: all. */
  readonly series?: readonly string[];
  /** The feeds of a step, where they are not the recorded ones. */
  readonly feeds?: (recorded: Feeds, step: number) => Feeds;
}

type Feeds = Readonly<Record<string, Tensor>>;

export async function follow(
  name: string,
  artifact: Artifact,
  variant: VariantId,
  threads: number,
  { most = Infinity, series: given, feeds: fed = (recorded) => recorded }: FollowOptions = {},
): Promise<Followed> {
  const folder = join(dataFolder, "reference/train", name);
  const trajectory = readJson<Recorded>(join(folder, "trajectory.json"));
  const session: Session = await load(artifact, { variant, threads });
  try {
    // One counts its steps in a buffer of its own.
    const partial = session.state.some((s) => s.name === "steps");
    await session.loadSafetensors(join(folder, "init.safetensors"), { partial });
    const batches = readTensors(join(folder, "batches.safetensors"));
    // `step` of a session that fits gives numbers of the fit; run gives all outputs.
    const step: Step = (feeds) => session.run(feeds as never, { entry: "step" });
    const departures: string[] = [];
    const seen: number[] = [];
    const count = Math.min(trajectory.steps, kinks[name] ?? Infinity, most);
    for (let s = 0; s < count; s++) {
      const recorded: Feeds = Object.fromEntries(
        [...batches].map(([key, t]) =>
          key.startsWith("_") ? [key.slice(1), t as Tensor] : [key, sliceOf(t, s) as Tensor],
        ),
      );
      const out = await step(fed(recorded, s));
      for (const [series, { values, atol }] of Object.entries(trajectory.series)) {
        if (given && !given.includes(series)) continue;
        const t = out[renamed[name]?.[series] ?? series] as Tensor | undefined;
        const got = Number(t?.data[0]);
        seen.push(got);
        if (!(Math.abs(got - values[s]!) <= atol))
          departures.push(`${series} of step ${s} is ${got}, not ${values[s]}`);
      }
      if (session.entries.sync && (s + 1) % 10 === 0) await session.run({}, { entry: "sync" });
    }
    if (count === trajectory.steps) {
      const final = readTensors(join(folder, "final.safetensors"));
      const own = new Set(session.state.map((s) => s.name));
      for (const [state, stats] of Object.entries(trajectory.finalStats)) {
        if (!own.has(state)) {
          if (!state.endsWith("num_batches_tracked")) departures.push(`there is no state ${state}`);
          continue;
        }
        const wrong = finalDisagreement(session.getState(state) as never, final.get(state)!, stats);
        if (wrong !== undefined) departures.push(`${state}: ${wrong}`);
      }
    }
    const { report } = session;
    return { departures, bits: seen.join(), used: `${report.variant} ${report.threads}`, steps: count };
  } finally {
    session.dispose();
  }
}
