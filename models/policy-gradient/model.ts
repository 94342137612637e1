/**
 * An actor that gives probabilities of actions, and a critic that says what return to expect.
 * Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992;
 * Mnih et al., "Asynchronous methods for deep reinforcement learning", 2016.
 */

import { F, nn, type Value } from "wasmith";

export interface ActorCriticOptions {
  readonly observation: number;
  readonly actions: number;
  readonly hidden?: number;
}

/** States [batch, observation] → logits [batch, actions] and values [batch]. */
export class ActorCritic extends nn.Module<readonly [state: Value], { logits: Value; value: Value }> {
  readonly actor: nn.Layer;
  readonly critic: nn.Layer;

  constructor({ observation, actions, hidden = 64 }: ActorCriticOptions) {
    super();
    this.actor = nn.sequential(nn.Linear(observation, hidden), nn.Tanh(), nn.Linear(hidden, actions));
    this.critic = nn.sequential(nn.Linear(observation, hidden), nn.Tanh(), nn.Linear(hidden, 1));
  }

  forward(ctx: nn.Context, state: Value) {
    return { logits: this.actor(ctx, state), value: this.critic(ctx, state).squeeze(1) };
  }
}

/** log π(action | state), [batch]. */
export const logProbability = (logits: Value, action: Value): Value =>
  F.logSoftmax(logits, 1).gather(1, action.unsqueeze(1)).squeeze(1);

/** Mean entropy of the policy: what it has left to try. */
export const entropy = (logits: Value): Value => F.softmax(logits, 1).mul(F.logSoftmax(logits, 1)).sum(1).mean().neg();

/**
 * Makes actions more probable that were better than expected, in proportion, and the expectation more like what came. Its gradient is an
 * estimate of that of the mean return: the policy gradient.
 *
 * @param advantage by how much an action was better, @param result the return that came, both [batch]
 */
export function policyGradient(
  { logits, value }: { readonly logits: Value; readonly value: Value },
  { action, advantage, result }: { readonly action: Value; readonly advantage: Value; readonly result: Value },
  bonus = 0.01,
): Value {
  const policy = logProbability(logits, action).mul(advantage).mean().neg();
  const critic = F.mseLoss(value, result);
  return policy.add(critic.mul(0.5)).sub(entropy(logits).mul(bonus));
}
