import { losses, nn, optim, trainStep } from "wasmith";

class Net extends nn.Module {
  lstm1 = nn.LSTM(1, 50, { batchFirst: true });
  lstm2 = nn.LSTM(50, 50, { batchFirst: true });
  lstm3 = nn.LSTM(50, 50, { batchFirst: true });
  drop = nn.Dropout(0.2);
  fc = nn.Linear(50, 1);

  forward(ctx, x) {
    for (const lstm of [this.lstm1, this.lstm2, this.lstm3]) {
      x = this.drop(ctx, lstm(ctx, x).output);
    }
    return this.fc(ctx, x.select(1, -1));
  }
}

export default trainStep(new Net(), {
  inputs: { x: ["n", 30, 1] },
  targets: { y: ["n", 1] },
  loss: losses.mse(),
  optimizer: optim.Adam({ lr: 0.001 }),
});
