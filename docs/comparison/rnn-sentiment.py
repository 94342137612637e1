import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(300, 100)
        self.rnn = nn.RNN(100, 256, num_layers=2, bidirectional=True)
        self.fc = nn.Linear(512, 1)

    def forward(self, text):
        _, hidden = self.rnn(self.embedding(text))
        both = torch.cat([hidden[-2], hidden[-1]], 1)
        return self.fc(both).squeeze(1)


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.001)


def step(text, label):
    optimizer.zero_grad()
    loss = F.binary_cross_entropy_with_logits(net(text), label)
    loss.backward()
    optimizer.step()
    return loss.item()
