import { losses, nn, optim, trainStep } from "wasmith";

export default () =>
  trainStep(nn.sequential(nn.Linear(48, 48), nn.ReLU()), {
    inputs: { x: ["n", 48] },
    targets: { t: ["n", 48] },
    loss: losses.mse(),
    optimizer: optim.SGD({ lr: 0.1 }),
  });
