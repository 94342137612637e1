import torch
from torch import nn
from torch.nn import functional as F


def mlp():
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


online = mlp()
target = mlp()
optimizer = torch.optim.RMSprop(online.parameters(), lr=0.001)


def step(s, a, r, s2, done):
    with torch.no_grad():
        y = r + 0.99 * target(s2).amax(1) * (1 - done)
    q = online(s).gather(1, a.unsqueeze(1)).squeeze(1)
    optimizer.zero_grad()
    loss = F.smooth_l1_loss(q, y)
    loss.backward()
    nn.utils.clip_grad_value_(online.parameters(), 0.05)
    optimizer.step()
    return loss.item()


def sync():
    target.load_state_dict(online.state_dict())
