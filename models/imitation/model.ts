/**
 * A student that learns what a teacher would do: states [batch, observation] → logits [batch, actions].
 * Ross, Gordon and Bagnell, "A reduction of imitation learning and structured prediction to no-regret online learning", 2011.
 */

import { nn } from "wasmith";

export const student = ({ observation = 4, actions = 2, hidden = 32 } = {}) =>
  nn.sequential(nn.Linear(observation, hidden), nn.Tanh(), nn.Linear(hidden, actions));
