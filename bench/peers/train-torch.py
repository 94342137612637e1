"""The training steps of bench/train-cases.ts in PyTorch on one thread. Arguments: model, fields of a batch as JSON, milliseconds."""
import json
import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
torch.manual_seed(0)
name, fields, budget = sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3]) / 1000


class LstmStack(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstms = nn.ModuleList(nn.LSTM(n, 50, batch_first=True) for n in (1, 50, 50))
        self.fc = nn.Linear(50, 1)

    def forward(self, x):
        for lstm in self.lstms:
            x = F.dropout(lstm(x)[0], 0.2)
        return self.fc(x[:, -1])


class Block(nn.Module):
    def __init__(self, features, heads, wide):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.qkv, self.proj = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.fc1, self.fc2 = nn.Linear(features, wide), nn.Linear(wide, features)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (p.view(b, t, self.heads, -1).transpose(1, 2) for p in self.qkv(self.ln1(x)).split(c, -1))
        if hasattr(F, "scaled_dot_product_attention"):
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mask = torch.triu(torch.full((t, t), -math.inf), 1)
            mixed = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]) + mask, -1) @ v
        x = x + self.proj(mixed.transpose(1, 2).reshape(b, t, c))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class TransformerLm(nn.Module):
    def __init__(self, vocabulary=1000, context=128, features=128, heads=4, layers=4, wide=512):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, features), nn.Embedding(context, features)
        self.blocks = nn.Sequential(*(Block(features, heads, wide) for _ in range(layers)))
        self.lnf = nn.LayerNorm(features)

    def forward(self, x):
        x = self.wte(x) + self.wpe.weight[: x.shape[1]]
        return F.linear(self.lnf(self.blocks(x)), self.wte.weight)


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.down = None
        if stride > 1:
            self.down = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.down is None else self.down(x)))


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        sizes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        self.blocks = nn.Sequential(*(BasicBlock(*s) for s in sizes))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(self.blocks(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))


class RnnSentiment(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5000, 100)
        self.rnn = nn.RNN(100, 256, 2, bidirectional=True, dropout=0.5)
        self.fc = nn.Linear(512, 1)

    def forward(self, text):
        _, hidden = self.rnn(self.embedding(text))
        return self.fc(torch.cat((hidden[-2], hidden[-1]), -1)).squeeze(-1)


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )


def mlp():
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.Tanh(), nn.Linear(128, 10))


def momentum(p):
    return torch.optim.SGD(p, lr=0.01, momentum=0.9)


def adam(p):
    return torch.optim.Adam(p, lr=1e-3)


def tokens(logits, y):
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


make, optimizer, loss = {
    "convnet": (lenet, momentum, F.cross_entropy),
    "mlp": (mlp, adam, F.cross_entropy),
    "lstm": (LstmStack, adam, F.mse_loss),
    "transformer": (TransformerLm, lambda p: torch.optim.AdamW(p, lr=1e-3), tokens),
    "resnet": (ResNet20, momentum, F.cross_entropy),
    "birnn": (RnnSentiment, adam, F.mse_loss),
}[name]

model = make().train()
opt = optimizer(model.parameters())


def field(spec):
    if spec["dtype"] == "i32":
        return torch.randint(spec["below"], spec["shape"])
    return torch.rand(spec["shape"]) * 2 - 1


x, y = (field(fields[k]) for k in ("x", "y"))


def step():
    opt.zero_grad()
    out = loss(model(x), y)
    out.backward()
    opt.step()
    return out.item()


until = time.perf_counter() + max(1.5, budget)
while time.perf_counter() < until:
    assert math.isfinite(step())
begin = time.process_time()
step()
repeat = max(1, math.ceil(0.002 / max(time.process_time() - begin, 1e-5)))
times = []
until = time.perf_counter() + budget
while len(times) < 5 or time.perf_counter() < until:
    begin = time.process_time()
    for _ in range(repeat):
        step()
    times.append((time.process_time() - begin) / repeat * 1000)
times.sort()
print(json.dumps({
    "least": times[0], "median": times[len(times) // 2], "steps": len(times) * repeat, "engine": f"PyTorch {torch.__version__}",
}))
