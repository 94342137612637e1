import { F, nn, optim, program } from "wasmith";

class Vae extends nn.Module {
  fc1 = nn.Linear(64, 32);
  fc21 = nn.Linear(32, 4);
  fc22 = nn.Linear(32, 4);
  fc3 = nn.Linear(4, 32);
  fc4 = nn.Linear(32, 64);

  forward(ctx, x, eps) {
    const h = this.fc1(ctx, x).relu();
    const mu = this.fc21(ctx, h);
    const logvar = this.fc22(ctx, h);
    const z = mu.add(eps.mul(logvar.div(2).exp()));
    const y = this.fc4(ctx, this.fc3(ctx, z).relu());
    return { y, mu, logvar };
  }
}

const net = new Vae();
const optimizer = optim.Adam({ lr: 0.001 });

export default program(net, {
  step: {
    inputs: { x: ["n", 64], eps: ["n", 4] },
    run(ctx, { x, eps }) {
      const { y, mu, logvar } = net(ctx, x, eps);
      const bce = F.binaryCrossEntropyWithLogits(y, x, { reduction: "sum" });
      const kl = logvar.add(1).sub(mu.square()).sub(logvar.exp()).sum().mul(-0.5);
      return { loss: ctx.minimize(bce.add(kl), net, optimizer), kl };
    },
  },
});
