import { F, nn, optim, program } from "wasmith";

class ActorCritic extends nn.Module {
  body = nn.sequential(nn.Linear(4, 32), nn.ReLU());
  pi = nn.Linear(32, 2);
  v = nn.Linear(32, 1);

  forward(ctx, x) {
    const h = this.body(ctx, x);
    return [this.pi(ctx, h), this.v(ctx, h).squeeze(1)];
  }
}

const net = new ActorCritic();
const optimizer = optim.Adam({ lr: 0.003 });

export default program(net, {
  step: {
    inputs: { state: ["n", 4], action: "i64[n]", advantage: ["n"], ret: ["n"], oldLogProb: ["n"] },
    run(ctx, { state, action, advantage, ret, oldLogProb }) {
      const [pi, v] = net(ctx, state);
      const logProb = pi.logSoftmax(-1).gather(1, action.unsqueeze(1)).squeeze(1);
      const ratio = logProb.sub(oldLogProb).exp();
      const gain = F.minimum(ratio.mul(advantage), ratio.clamp(0.8, 1.2).mul(advantage));
      const loss = F.mseLoss(v, ret).mul(0.5).sub(gain.mean());
      return { loss: ctx.minimize(loss, net, optimizer) };
    },
  },
});
