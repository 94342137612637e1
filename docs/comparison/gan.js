import { F, nn, optim, program } from "wasmith";

const G = nn.sequential(
  nn.Linear(8, 144),
  nn.BatchNorm1d(144),
  nn.ReLU(),
  nn.Unflatten(1, [16, 3, 3]),
  nn.ConvTranspose2d(16, 8, 4, { stride: 2, padding: 1, bias: false }),
  nn.BatchNorm2d(8),
  nn.ReLU(),
  nn.ConvTranspose2d(8, 1, 4, { stride: 2, padding: 1 }),
  nn.Tanh(),
);
const D = nn.sequential(
  nn.Conv2d(1, 8, 4, { stride: 2, padding: 1 }),
  nn.LeakyReLU(0.2),
  nn.Conv2d(8, 16, 4, { stride: 2, padding: 1 }),
  nn.LeakyReLU(0.2),
  nn.Flatten(),
  nn.Linear(144, 1),
);
const optimizerG = optim.Adam({ lr: 1e-4, betas: [0.5, 0.999] });
const optimizerD = optim.Adam({ lr: 4e-4, betas: [0.5, 0.999] });

function bce(x, y) {
  return F.binaryCrossEntropyWithLogits(x, F.fullLike(x, y));
}

export default program(
  { G, D },
  {
    step: {
      inputs: { real: ["n", 1, 12, 12], z: ["n", 8] },
      run(ctx, { real, z }) {
        const fake = G(ctx, z);
        const lossD = bce(D(ctx, real), 1).add(bce(D(ctx, fake.detach()), 0));
        ctx.minimize(lossD, D, optimizerD);
        const lossG = bce(D(ctx, fake), 1);
        ctx.minimize(lossG, G, optimizerG);
        return { lossD, lossG };
      },
    },
  },
);
