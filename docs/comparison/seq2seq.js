import { F, losses, nn, optim, trainStep } from "wasmith";

class Seq2Seq extends nn.Module {
  es = nn.Embedding(14, 8);
  et = nn.Embedding(14, 8);
  enc = nn.GRU(8, 16, { batchFirst: true });
  dec = nn.GRUCell(24, 16);
  k = nn.Linear(16, 16, { bias: false });
  o = nn.Linear(32, 14);

  forward(ctx, src, tgt) {
    const { output, hidden } = this.enc(ctx, this.es(ctx, src));
    const keys = this.k(ctx, output);
    const decode = (h, word) => {
      const weights = F.einsum("bsd,bd->bs", keys, h).softmax(1);
      const context = F.einsum("bs,bsd->bd", weights, output);
      h = this.dec(ctx, F.cat([word, context], 1), h);
      return [h, this.o(ctx, F.cat([h, context], 1))];
    };
    const [, logits] = F.scan(decode, hidden.squeeze(0), this.et(ctx, tgt).transpose(0, 1));
    return logits.permute([1, 2, 0]);
  }
}

export default trainStep(new Seq2Seq(), {
  inputs: { src: "i64[n,t]", tgtIn: "i64[n,t]" },
  targets: { tgtOut: "i64[n,t]" },
  loss: losses.crossEntropy({ ignoreIndex: 0 }),
  optimizer: optim.Adam({ lr: 0.01 }),
  clip: optim.clipNorm(1),
});
