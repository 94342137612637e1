/**
 * A network on graphs: nodes send messages along edges, and what arrives is added up.
 * Gilmer et al., "Neural message passing for quantum chemistry", 2017; Battaglia et al., "Relational inductive biases", 2018.
 */

import { F, nn, type Value } from "wasmith";

/** Nodes h [nodes, width], edges from → to, both i64 [edges]. */
export class MessagePassing extends nn.Module<readonly [h: Value, from: Value, to: Value], Value> {
  readonly message: nn.Layer;
  readonly update: nn.Module<readonly [x: Value, h: Value], Value>;

  constructor(width: number) {
    super();
    this.message = nn.sequential(nn.Linear(2 * width, width), nn.ReLU());
    this.update = nn.GRUCell(width, width);
  }

  forward(ctx: nn.Context, h: Value, from: Value, to: Value): Value {
    const ends = F.cat([h.indexSelect(0, from), h.indexSelect(0, to)], 1);
    const arrived = F.zerosLike(h).indexAdd(0, to, this.message(ctx, ends));
    return this.update(ctx, arrived, h);
  }
}

/** Features [nodes, features] → a score of each node, [nodes]. Several graphs are one graph without edges between them. */
export class GraphNetwork extends nn.Module<readonly [x: Value, from: Value, to: Value], Value> {
  readonly encoder: nn.LinearLayer;
  readonly passing: MessagePassing;
  readonly head: nn.LinearLayer;
  readonly #rounds: number;

  constructor({ features = 1, width = 32, rounds = 5 } = {}) {
    super();
    this.encoder = nn.Linear(features, width);
    this.passing = new MessagePassing(width);
    this.head = nn.Linear(width, 1);
    this.#rounds = rounds;
  }

  forward(ctx: nn.Context, x: Value, from: Value, to: Value): Value {
    let h = F.tanh(this.encoder(ctx, x));
    for (let round = 0; round < this.#rounds; round++) h = this.passing(ctx, h, from, to);
    return this.head(ctx, h).squeeze(1);
  }
}
