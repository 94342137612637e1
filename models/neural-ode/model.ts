/**
 * A differential equation whose right side is a network, solved by Runge and Kutta's method in fixed steps.
 * Chen, Rubanova, Bettencourt and Duvenaud, "Neural ordinary differential equations", 2018.
 */

import { F, nn, type Value } from "wasmith";

/** One step of the classical Runge-Kutta method for dx/dt = f(x). */
export function rungeKutta(f: (x: Value) => Value, x: Value, time: number): Value {
  const k1 = f(x);
  const k2 = f(x.add(k1.mul(time / 2)));
  const k3 = f(x.add(k2.mul(time / 2)));
  const k4 = f(x.add(k3.mul(time)));
  return x.add(
    k1
      .add(k2.mul(2))
      .add(k3.mul(2))
      .add(k4)
      .mul(time / 6),
  );
}

/** States [batch, size] → the states after 1, 2, … steps, [steps, batch, size]. Gradients go back through the solver. */
export class NeuralOde extends nn.Module<readonly [start: Value, steps: number], Value> {
  readonly slope: nn.Layer;
  readonly #time: number;

  constructor(slope: nn.Layer, time: number) {
    super();
    this.slope = slope;
    this.#time = time;
  }

  forward(ctx: nn.Context, start: Value, steps: number): Value {
    const [, states] = F.scan(
      (x: Value) => {
        const next = rungeKutta((at) => this.slope(ctx, at), x, this.#time);
        return [next, next];
      },
      start,
      undefined,
      { length: steps },
    );
    return states;
  }
}

export const slopes = ({ size = 2, hidden = 48 } = {}) =>
  nn.sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, size));
