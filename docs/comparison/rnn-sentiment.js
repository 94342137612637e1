import { F, losses, nn, optim, trainStep } from "wasmith";

class Net extends nn.Module {
  embedding = nn.Embedding(300, 100);
  rnn = nn.RNN(100, 256, { layers: 2, bidirectional: true });
  fc = nn.Linear(512, 1);

  forward(ctx, text) {
    const { hidden } = this.rnn(ctx, this.embedding(ctx, text));
    const both = F.cat([hidden.select(0, -2), hidden.select(0, -1)], 1);
    return this.fc(ctx, both).squeeze(1);
  }
}

export default trainStep(new Net(), {
  inputs: { text: "i64[12,n]" },
  targets: { label: ["n"] },
  loss: losses.bceWithLogits(),
  optimizer: optim.Adam({ lr: 0.001 }),
});
