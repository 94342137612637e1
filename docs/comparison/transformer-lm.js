import { F, nn, optim, schedules, trainStep } from "wasmith";

class Block extends nn.Module {
  ln1 = nn.LayerNorm(32);
  qkv = nn.Linear(32, 96);
  proj = nn.Linear(32, 32);
  ln2 = nn.LayerNorm(32);
  fc1 = nn.Linear(32, 64);
  fc2 = nn.Linear(64, 32);

  forward(ctx, x) {
    const [n, t, d] = x.shape;
    const heads = this.qkv(ctx, this.ln1(ctx, x)).chunk(3, -1);
    const [q, k, v] = heads.map((h) => h.reshape([n, t, 4, 8]).transpose(1, 2));
    const y = F.attention(q, k, v, { causal: true }).transpose(1, 2).reshape([n, t, d]);
    x = x.add(this.proj(ctx, y));
    return x.add(this.fc2(ctx, this.fc1(ctx, this.ln2(ctx, x)).gelu()));
  }
}

class Transformer extends nn.Module {
  wte = nn.Embedding(32, 32);
  wpe = nn.Embedding(16, 32);
  blocks = [new Block(), new Block()];
  lnf = nn.LayerNorm(32);

  forward(ctx, tokens) {
    let x = this.wte(ctx, tokens).add(this.wpe(ctx, F.arange(tokens.shape[1])));
    for (const block of this.blocks) x = block(ctx, x);
    return this.lnf(ctx, x).matmul(ctx.value(this.wte.weight).transpose());
  }
}

export default trainStep(new Transformer(), {
  inputs: { x: "i64[n,16]" },
  targets: { y: "i64[n,16]" },
  loss: (logits, y) => F.crossEntropy(logits.transpose(1, 2), y),
  optimizer: optim.AdamW({ lr: 0.003, weightDecay: 0.1 }),
  clip: optim.clipNorm(1),
  schedule: schedules.warmup(0.003, 10),
});
