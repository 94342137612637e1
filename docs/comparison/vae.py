import torch
from torch import nn
from torch.nn import functional as F


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 32)
        self.fc21 = nn.Linear(32, 4)
        self.fc22 = nn.Linear(32, 4)
        self.fc3 = nn.Linear(4, 32)
        self.fc4 = nn.Linear(32, 64)

    def forward(self, x, eps):
        h = self.fc1(x).relu()
        mu = self.fc21(h)
        logvar = self.fc22(h)
        z = mu + eps * (logvar / 2).exp()
        y = self.fc4(self.fc3(z).relu())
        return y, mu, logvar


net = Vae()
optimizer = torch.optim.Adam(net.parameters(), lr=0.001)


def step(x, eps):
    optimizer.zero_grad()
    y, mu, logvar = net(x, eps)
    bce = F.binary_cross_entropy_with_logits(y, x, reduction="sum")
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()
    loss = bce + kl
    loss.backward()
    optimizer.step()
    return loss.item(), kl.item()
