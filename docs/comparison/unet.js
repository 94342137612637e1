import { F, losses, nn, optim, trainStep } from "wasmith";

class UNet extends nn.Module {
  a = nn.Conv2d(1, 6, 3, { padding: 1 });
  na = nn.GroupNorm(2, 6);
  b = nn.Conv2d(6, 10, 3, { stride: 2, padding: 1 });
  up = nn.ConvTranspose2d(10, 6, 2, { stride: 2 });
  c = nn.Conv2d(12, 3, 3, { padding: 1 });

  forward(ctx, x) {
    const a = this.na(ctx, this.a(ctx, x)).silu();
    const b = this.b(ctx, a).gelu();
    const coarse = F.interpolate(F.avgPool2d(b, 2), { scale: 2, mode: "linear" });
    return this.c(ctx, F.cat([a, this.up(ctx, b.add(coarse))], 1));
  }
}

export default trainStep(new UNet(), {
  inputs: { x: ["n", 1, 12, 12] },
  targets: { y: "i64[n,12,12]" },
  loss: losses.weightedSum([1, losses.crossEntropy()], [1, losses.dice()]),
  optimizer: optim.AdamW({ lr: 0.01, weightDecay: 0.01 }),
});
