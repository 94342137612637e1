import torch
from torch import nn
from torch.nn import functional as F

features = nn.Sequential(nn.Linear(10, 24), nn.ReLU())
classifier = nn.Linear(24, 3)
domain = nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 1))
modules = nn.ModuleDict({"features": features, "classifier": classifier, "domain": domain})
optimizer = torch.optim.SGD(modules.parameters(), lr=0.05, momentum=0.9)


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.factor * gradient, None


def step(xs, y, xt, factor):
    optimizer.zero_grad()
    fs = features(xs)
    ft = features(xt)
    class_loss = F.cross_entropy(classifier(fs), y)
    d = domain(Reverse.apply(torch.cat([fs, ft]), factor)).squeeze(1)
    is_target = torch.cat([torch.zeros(len(xs)), torch.ones(len(xt))])
    domain_loss = F.binary_cross_entropy_with_logits(d, is_target)
    loss = class_loss + domain_loss
    loss.backward()
    optimizer.step()
    return loss.item(), class_loss.item(), domain_loss.item()
