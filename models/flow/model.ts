/**
 * RealNVP: an invertible map from points x [batch, size] to normal noise z, whose determinant is known, so that the density of x is too.
 * Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2017.
 */

import { F, nn, type Value } from "wasmith";

/** One half is scaled and shifted by what a network makes of the other half, which stays as it is: so the way back is as easy. */
class Coupling extends nn.Module<readonly [x: Value], { z: Value; logDeterminant: Value }> {
  readonly net: nn.Layer;

  constructor(half: number, hidden: number) {
    super();
    this.net = nn.sequential(
      nn.Linear(half, hidden),
      nn.ReLU(),
      nn.Linear(hidden, hidden),
      nn.ReLU(),
      // The map begins as the identity.
      nn.Linear(hidden, 2 * half, { weightInit: nn.init.zeros, biasInit: nn.init.zeros }),
    );
  }

  #scaleAndShift(ctx: nn.Context, kept: Value) {
    const [scale, shift] = F.chunk(this.net(ctx, kept), 2, 1);
    return { logScale: F.tanh(scale!).mul(2), shift: shift! };
  }

  forward(ctx: nn.Context, x: Value) {
    const [kept, changed] = F.chunk(x, 2, 1);
    const { logScale, shift } = this.#scaleAndShift(ctx, kept!);
    // The halves change places, so that the next coupling changes the other one.
    const z = F.cat([changed!.mul(F.exp(logScale)).add(shift), kept!], 1);
    return { z, logDeterminant: logScale.sum(1) };
  }

  inverse(ctx: nn.Context, z: Value): Value {
    const [changed, kept] = F.chunk(z, 2, 1);
    const { logScale, shift } = this.#scaleAndShift(ctx, kept!);
    return F.cat([kept!, changed!.sub(shift).mul(F.exp(logScale.neg()))], 1);
  }
}

export class RealNvp extends nn.Module {
  readonly couplings: readonly Coupling[];
  readonly #size: number;

  /** @param size of a point, even */
  constructor({ size = 2, couplings = 8, hidden = 64 } = {}) {
    super();
    this.#size = size;
    this.couplings = Array.from({ length: couplings }, () => new Coupling(size / 2, hidden));
  }

  /** The logarithm of the density at each point: [batch]. */
  forward(ctx: nn.Context, x: Value): Value {
    let [z, logDeterminant] = [x, x.sum(1).mul(0)];
    for (const coupling of this.couplings) {
      const next = coupling(ctx, z);
      [z, logDeterminant] = [next.z, logDeterminant.add(next.logDeterminant)];
    }
    const logNormal = z
      .square()
      .sum(1)
      .mul(-0.5)
      .sub((this.#size / 2) * Math.log(2 * Math.PI));
    return logNormal.add(logDeterminant);
  }

  /** Points of normal noise z [batch, size]. */
  sample(ctx: nn.Context, z: Value): Value {
    return this.couplings.toReversed().reduce((x, coupling) => coupling.inverse(ctx, x), z);
  }
}
