/**
 * A mixture of experts: a gate chooses few of many small networks for each sample, and only these compute.
 * Shazeer et al., "Outrageously large neural networks: the sparsely-gated mixture-of-experts layer", 2017;
 * places and balance as in Fedus, Zoph and Shazeer, "Switch Transformers", 2022.
 */

import { F, nn, type Value } from "wasmith";

export interface MixtureOptions {
  readonly features: number;
  readonly outputs: number;
  readonly experts?: number;
  /** Experts that are asked for a sample. */
  readonly chosen?: number;
  /** Width of an expert. */
  readonly hidden?: number;
  /** Samples that an expert takes of a batch; what comes after these is not computed. */
  readonly capacity: number;
}

/** x [batch, features] → y [batch, outputs], the share of each expert, and a loss that is least (1) where all are asked as often. */
export class Mixture extends nn.Module<readonly [x: Value], { y: Value; shares: Value; imbalance: Value }> {
  readonly gate: nn.LinearLayer;
  readonly first: nn.Variable;
  readonly firstBias: nn.Variable;
  readonly second: nn.Variable;
  readonly #experts: number;
  readonly #chosen: number;
  readonly #capacity: number;

  constructor({ features, outputs, experts = 16, chosen = 2, hidden = 32, capacity }: MixtureOptions) {
    super();
    this.gate = nn.Linear(features, experts);
    this.first = nn.parameter([experts, features, hidden], nn.init.normal(0, 1 / Math.sqrt(features)));
    this.firstBias = nn.parameter([experts, 1, hidden], nn.init.zeros);
    this.second = nn.parameter([experts, hidden, outputs], nn.init.normal(0, 1 / Math.sqrt(hidden)));
    this.#experts = experts;
    this.#chosen = chosen;
    this.#capacity = capacity;
  }

  forward(ctx: nn.Context, x: Value) {
    const probabilities = F.softmax(this.gate(ctx, x), 1);
    const [weights, experts] = probabilities.topK(this.#chosen, 1);
    // A row for each sample and each of its experts.
    const asked = experts.flatten();
    const counted = F.oneHot(asked, this.#experts, "i64");
    const place = counted.cumSum(0, { exclusive: true }).mul(counted).sum(1);
    const slots = this.#experts * this.#capacity;
    // What finds no place lies behind all slots.
    const slot = F.where(place.lt(this.#capacity), asked.mul(this.#capacity).add(place), slots);
    const rows = x.repeatInterleave(this.#chosen, 0);
    const boxes = F.zeros([slots + 1, x.type.shape[1]!]).indexAdd(0, slot, rows);
    const answers = this.#computed(ctx, boxes.narrow(0, 0, slots).unflatten(0, [this.#experts, this.#capacity]));
    const back = F.pad(answers.flatten(0, 1), [0, 0, 0, 1]).indexSelect(0, slot);
    const y = back
      .unflatten(0, [-1, this.#chosen])
      .mul(weights.div(weights.sum(1, true)).unsqueeze(2))
      .sum(1);
    const shares = counted.cast("f32").mean(0);
    return { y, shares, imbalance: shares.mul(probabilities.mean(0)).sum().mul(this.#experts) };
  }

  /** All experts at once, each on its own samples: [experts, capacity, features] → [experts, capacity, outputs]. */
  #computed(ctx: nn.Context, x: Value): Value {
    const h = F.relu(x.matmul(ctx.value(this.first)).add(ctx.value(this.firstBias)));
    return h.matmul(ctx.value(this.second));
  }
}

/** One network with as many products for a sample as the experts that are chosen. */
export const dense = (features: number, outputs: number, hidden: number) =>
  nn.sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, outputs));
