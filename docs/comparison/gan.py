import torch
from torch import nn
from torch.nn import functional as F

G = nn.Sequential(
    nn.Linear(8, 144),
    nn.BatchNorm1d(144),
    nn.ReLU(),
    nn.Unflatten(1, (16, 3, 3)),
    nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1, bias=False),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
    nn.Tanh(),
)
D = nn.Sequential(
    nn.Conv2d(1, 8, 4, stride=2, padding=1),
    nn.LeakyReLU(0.2),
    nn.Conv2d(8, 16, 4, stride=2, padding=1),
    nn.LeakyReLU(0.2),
    nn.Flatten(),
    nn.Linear(144, 1),
)
optimizer_g = torch.optim.Adam(G.parameters(), lr=1e-4, betas=(0.5, 0.999))
optimizer_d = torch.optim.Adam(D.parameters(), lr=4e-4, betas=(0.5, 0.999))


def bce(x, y):
    return F.binary_cross_entropy_with_logits(x, torch.full_like(x, y))


def step(real, z):
    fake = G(z)
    optimizer_d.zero_grad()
    loss_d = bce(D(real), 1) + bce(D(fake.detach()), 0)
    loss_d.backward()
    optimizer_d.step()
    optimizer_g.zero_grad()
    loss_g = bce(D(fake), 1)
    loss_g.backward()
    optimizer_g.step()
    return loss_d.item(), loss_g.item()
