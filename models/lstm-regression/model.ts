/** Three LSTM layers with dropout that predict the next value of a series from the rows before: x [batch, steps, features] → [batch, 1]. */

import { nn, type Value } from "wasmith";

export class LstmStack extends nn.Module {
  readonly lstm1: nn.LSTMModule;
  readonly lstm2 = nn.LSTM(50, 50, { batchFirst: true });
  readonly lstm3 = nn.LSTM(50, 50, { batchFirst: true });
  readonly dropouts: readonly nn.Layer[];
  readonly fc = nn.Linear(50, 1);

  constructor(features = 1, dropout = 0.2) {
    super();
    this.lstm1 = nn.LSTM(features, 50, { batchFirst: true });
    this.dropouts = [0, 1, 2].map(() => nn.Dropout(dropout));
  }

  forward(ctx: nn.Context, x: Value): Value {
    const sequence = [this.lstm1, this.lstm2, this.lstm3].reduce(
      (v, lstm, i) => this.dropouts[i]!(ctx, lstm(ctx, v).output),
      x,
    );
    return this.fc(ctx, nn.lastStep(sequence, 1));
  }
}
