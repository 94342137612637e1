import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional as F


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.ReLU())
        self.pi = nn.Linear(32, 2)
        self.v = nn.Linear(32, 1)

    def forward(self, x):
        h = self.body(x)
        return self.pi(h), self.v(h).squeeze(1)


net = ActorCritic()
optimizer = torch.optim.Adam(net.parameters(), lr=0.003)


def step(state, action, advantage, ret, old_log_prob):
    optimizer.zero_grad()
    pi, v = net(state)
    log_prob = Categorical(logits=pi).log_prob(action)
    ratio = (log_prob - old_log_prob).exp()
    gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    loss = 0.5 * F.mse_loss(v, ret) - gain.mean()
    loss.backward()
    optimizer.step()
    return loss.item()
