import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm1 = nn.LSTM(1, 50, batch_first=True)
        self.lstm2 = nn.LSTM(50, 50, batch_first=True)
        self.lstm3 = nn.LSTM(50, 50, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(50, 1)

    def forward(self, x):
        for lstm in [self.lstm1, self.lstm2, self.lstm3]:
            x, _ = lstm(x)
            x = self.drop(x)
        return self.fc(x[:, -1])


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.001)


def step(x, y):
    optimizer.zero_grad()
    loss = F.mse_loss(net(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()
