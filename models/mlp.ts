/** A perceptron with two hidden layers. */

import { nn } from "../compiler/dsl/index.js";

/** x [batch, input] → logits [batch, classes]. */
export const mlp = (input: number, hidden: readonly [number, number], classes: number) =>
  nn.sequential(
    nn.Linear(input, hidden[0]),
    nn.ReLU(),
    nn.Linear(hidden[0], hidden[1]),
    nn.Tanh(),
    nn.Linear(hidden[1], classes),
  );
