import { F, nn, optim, perSample, program } from "wasmith";

const net = nn.sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3));
const optimizer = optim.SGD({ lr: 0.2 });

export default program(net, {
  step: {
    inputs: { x: ["n", 6], y: "i64[n]" },
    run(ctx, { x, y }) {
      const weights = ctx.parameters(net).map((p) => p.value);
      const each = perSample((x, y) => F.crossEntropy(net(ctx, x), y), [x, y], weights);
      const norms = F.stack(each.map((g) => g.flatten(1).norm(2, 1))).norm(2, 0);
      const scale = F.div(1, norms.add(1e-6)).clamp(undefined, 1);
      const noisy = each.map((g) => {
        const sum = F.einsum("n,n...->...", scale, g);
        return sum.add(F.randnLike(ctx, sum).mul(0.8)).div(x.shape[0]);
      });
      const loss = F.crossEntropy(net(ctx, x), y);
      ctx.applyGradients(noisy, net, optimizer);
      return { loss };
    },
  },
});
