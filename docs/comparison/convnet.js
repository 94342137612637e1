import { F, losses, nn, optim, trainStep } from "wasmith";

class Net extends nn.Module {
  conv1 = nn.Conv2d(1, 6, 5);
  conv2 = nn.Conv2d(6, 16, 5);
  fc1 = nn.Linear(400, 120);
  fc2 = nn.Linear(120, 84);
  fc3 = nn.Linear(84, 10);

  forward(ctx, x) {
    x = F.maxPool2d(this.conv1(ctx, x).relu(), 2);
    x = F.maxPool2d(this.conv2(ctx, x).relu(), 2);
    x = x.flatten(1);
    x = this.fc1(ctx, x).relu();
    x = this.fc2(ctx, x).relu();
    return this.fc3(ctx, x);
  }
}

export default trainStep(new Net(), {
  inputs: { x: ["n", 1, 32, 32] },
  targets: { y: "i64[n]" },
  loss: losses.crossEntropy(),
  optimizer: optim.SGD({ lr: 0.001, momentum: 0.9 }),
});
