import { F, nn, optim, program } from "wasmith";

function mlp() {
  return nn.sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3));
}

const online = mlp();
const target = mlp();
const optimizer = optim.RMSprop({ lr: 0.001 });

export default program(
  { online, target },
  {
    step: {
      inputs: { s: ["n", 4], a: "i64[n]", r: ["n"], s2: ["n", 4], done: ["n"] },
      run(ctx, { s, a, r, s2, done }) {
        const y = target(ctx, s2).amax(1).mul(0.99).mul(done.rsub(1)).add(r).detach();
        const q = online(ctx, s).gather(1, a.unsqueeze(1)).squeeze(1);
        const loss = F.smoothL1Loss(q, y);
        return { loss: ctx.minimize(loss, online, optimizer, { clip: optim.clipValue(0.05) }) };
      },
    },
    sync: { inputs: {}, run: (ctx) => ctx.copy(online, target) },
  },
);
