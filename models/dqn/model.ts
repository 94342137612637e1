/**
 * A deep Q-network: a state [batch, observation] → the return to expect of each action [batch, actions].
 * Mnih et al., "Human-level control through deep reinforcement learning", 2015.
 */

import { F, nn, type Value } from "wasmith";

export interface QNetworkOptions {
  /** What the parts of a state are divided by. */
  readonly units: readonly number[];
  readonly actions: number;
  readonly hidden?: number;
}

export const qNetwork = ({ units, actions, hidden = 64 }: QNetworkOptions) =>
  nn.sequential(
    nn.Lambda((state) => state.div(F.constant(units))),
    nn.Linear(units.length, hidden),
    nn.ReLU(),
    nn.Linear(hidden, hidden),
    nn.ReLU(),
    nn.Linear(hidden, actions),
  );

export interface Transition {
  /** What was seen, [batch, observation]. */
  readonly state: Value;
  /** What was done, i64 [batch]. */
  readonly action: Value;
  readonly reward: Value;
  readonly next: Value;
  /** 1 where nothing comes after, [batch]. */
  readonly terminated: Value;
}

/**
 * How far the network is from one step's reward and its target network's opinion of what comes after. The better action is chosen by the
 * network that learns, and valued by the other, which keeps hopes from growing (van Hasselt, Guez and Silver, "Deep reinforcement learning
 * with double Q-learning", 2016).
 */
export function temporalDifference(
  ctx: nn.Context,
  online: nn.Layer,
  target: nn.Layer,
  { state, action, reward, next, terminated }: Transition,
  discount = 0.99,
): Value {
  const q = online(ctx, state).gather(1, action.unsqueeze(1)).squeeze(1);
  const best = online(ctx, next).argMax(1, true);
  const future = target(ctx, next).gather(1, best).squeeze(1);
  const wanted = reward.add(future.mul(terminated.rsub(1)).mul(discount));
  return F.smoothL1Loss(q, F.stopGradient(wanted));
}
