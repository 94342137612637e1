import torch
from torch import nn
from torch.nn import functional as F


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.es = nn.Embedding(14, 8)
        self.et = nn.Embedding(14, 8)
        self.enc = nn.GRU(8, 16, batch_first=True)
        self.dec = nn.GRUCell(24, 16)
        self.k = nn.Linear(16, 16, bias=False)
        self.o = nn.Linear(32, 14)

    def forward(self, src, tgt):
        output, hidden = self.enc(self.es(src))
        keys = self.k(output)
        h = hidden.squeeze(0)
        logits = []
        for word in self.et(tgt).unbind(1):
            weights = torch.einsum("bsd,bd->bs", keys, h).softmax(1)
            context = torch.einsum("bs,bsd->bd", weights, output)
            h = self.dec(torch.cat([word, context], 1), h)
            logits.append(self.o(torch.cat([h, context], 1)))
        return torch.stack(logits, 2)


net = Seq2Seq()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)


def step(src, tgt_in, tgt_out):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(src, tgt_in), tgt_out, ignore_index=0)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1)
    optimizer.step()
    return loss.item()
