import { F, nn, optim, program } from "wasmith";

const features = nn.sequential(nn.Linear(10, 24), nn.ReLU());
const classifier = nn.Linear(24, 3);
const domain = nn.sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 1));
const modules = { features, classifier, domain };
const optimizer = optim.SGD({ lr: 0.05, momentum: 0.9 });

const reverse = F.customVjp(
  (x) => x,
  ({ inputs: [, factor] }, gradient) => [gradient.mul(factor).neg(), undefined],
);

export default program(modules, {
  step: {
    inputs: { xs: ["n", 10], y: "i64[n]", xt: ["n", 10], factor: [] },
    run(ctx, { xs, y, xt, factor }) {
      const fs = features(ctx, xs);
      const ft = features(ctx, xt);
      const classLoss = F.crossEntropy(classifier(ctx, fs), y);
      const d = domain(ctx, reverse(F.cat([fs, ft]), factor)).squeeze(1);
      const isTarget = F.cat([F.zeros([xs.shape[0]]), F.ones([xt.shape[0]])]);
      const domainLoss = F.binaryCrossEntropyWithLogits(d, isTarget);
      const loss = classLoss.add(domainLoss);
      return { loss: ctx.minimize(loss, Object.values(modules), optimizer), classLoss, domainLoss };
    },
  },
});
