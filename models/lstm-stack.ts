/** Three LSTM layers that predict the next value of a series from a window of it. */

import { nn } from "../compiler/dsl/index.js";
import type { Value } from "../ir/graph.js";

export class LstmStack extends nn.Module {
  readonly lstm1 = nn.LSTM(1, 50, { batchFirst: true });
  readonly lstm2 = nn.LSTM(50, 50, { batchFirst: true });
  readonly lstm3 = nn.LSTM(50, 50, { batchFirst: true });
  readonly dropouts: readonly nn.Layer[];
  readonly fc = nn.Linear(50, 1);

  constructor(dropout = 0.2) {
    super();
    this.dropouts = [0, 1, 2].map(() => nn.Dropout(dropout));
  }

  /** x [batch, steps, 1] → [batch, 1] */
  forward(ctx: nn.Context, x: Value): Value {
    const sequence = [this.lstm1, this.lstm2, this.lstm3].reduce(
      (v, lstm, i) => this.dropouts[i]!.apply(ctx, lstm.apply(ctx, v).output),
      x,
    );
    return this.fc.apply(ctx, nn.lastStep(sequence, 1));
  }
}
