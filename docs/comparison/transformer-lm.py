import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1 = nn.LayerNorm(32)
        self.qkv = nn.Linear(32, 96)
        self.proj = nn.Linear(32, 32)
        self.ln2 = nn.LayerNorm(32)
        self.fc1 = nn.Linear(32, 64)
        self.fc2 = nn.Linear(64, 32)

    def forward(self, x):
        n, t, d = x.shape
        heads = self.qkv(self.ln1(x)).chunk(3, -1)
        q, k, v = [h.view(n, t, 4, 8).transpose(1, 2) for h in heads]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, d)
        x = x + self.proj(y)
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(32, 32)
        self.wpe = nn.Embedding(16, 32)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.lnf = nn.LayerNorm(32)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.lnf(x) @ self.wte.weight.T


net = Transformer()
optimizer = torch.optim.AdamW(net.parameters(), lr=0.003, weight_decay=0.1)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 10))


def step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x).transpose(1, 2), y)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1)
    optimizer.step()
    scheduler.step()
    return loss.item()
