"""PyTorch at the work of workloads.js, on CUDA where there is one, else on the CPU.

Argument: JSON of {"precision": "f32" | "half", "parts": [...], "sizes": that of SIZES, "batch": rows of a step, "rounds": n}. With "f32" no
product is done in TF32; "half" has products and convolutions of f16, everything else under autocast to bfloat16. Lines as those of node.js.
"""
import json
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

ASKED = json.loads(sys.argv[1])
SIZES, PARTS, ROUNDS, BATCH = ASKED["sizes"], ASKED["parts"], ASKED["rounds"], ASKED["batch"]
HALF = ASKED["precision"] == "half"
PATIENCE = 5
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.manual_seed(0)


def tell(line):
    print("@" + json.dumps(line), flush=True)


def wait():
    if CUDA:
        torch.cuda.synchronize()


def cast():
    return torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=HALF)


def row(name, make, flops=None, **more):
    """`make()` gives (run, work): run() does `work` units and returns a tensor, whose first element is the value."""
    try:
        run, work = make()
        first = run()
        value = None if first is None else float(first.reshape(-1)[0])
        run()
        wait()
        times, begun = [], time.perf_counter()
        while len(times) < ROUNDS and (not times or time.perf_counter() - begun < PATIENCE):
            at = time.perf_counter()
            run()
            wait()
            times.append(1e3 * (time.perf_counter() - at) / work)
        ms = sorted(times)[len(times) // 2]
        tell({"row": name, "ms": ms, "value": value, **({} if flops is None else {"gflops": flops / ms / 1e6}), **more})
    except Exception as error:  # one case may be too much for a device
        tell({"row": name, "error": str(error).split("\n")[0]})


DTYPE = torch.float16 if HALF and CUDA else torch.bfloat16 if HALF else torch.float32


def matmul(n):
    a = torch.full((n, n), 0.5, device=DEVICE, dtype=DTYPE)
    b = torch.full((n, n), 1 / n, device=DEVICE, dtype=DTYPE)
    count = 20 if n <= 1024 else 8

    def run():
        y = a
        for _ in range(count):
            y = y @ b
        return y

    return run, count


def conv(image):
    n, side, channels, kernel = image["count"], image["side"], image["channels"], image["kernel"]
    x = torch.full((n, channels, side, side), 0.1, device=DEVICE, dtype=DTYPE)
    w = torch.full((channels, channels, kernel, kernel), 0.01, device=DEVICE, dtype=DTYPE)
    return lambda: F.conv2d(x, w, padding=kernel // 2)[0, 0, 9, 9], 1


def trained(model, optimizer, loss, x, y, steps):
    def run():
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with cast():
                value = loss(model(x), y)
            value.backward()
            optimizer.step()
        return value

    return run, steps


class Lstm(nn.Module):
    """With tanh, which cuDNN has; the other libraries' is relu."""

    def __init__(self):
        super().__init__()
        self.cells, self.wide, self.narrow = nn.LSTM(10, 100, batch_first=True), nn.Linear(100, 50), nn.Linear(50, 1)

    def forward(self, x):
        y, _ = self.cells(x)
        return self.narrow(F.relu(self.wide(y[:, -1])))


def ffn(steps):
    model = nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 1)).to(DEVICE)
    x, y = torch.rand(BATCH, 8, device=DEVICE), torch.rand(BATCH, 1, device=DEVICE).round()
    return trained(model, torch.optim.SGD(model.parameters(), lr=0.01), F.binary_cross_entropy_with_logits, x, y, steps)


def cnn(steps):
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 64), nn.ReLU(), nn.Linear(64, 10),
    ).to(DEVICE)
    x, y = torch.rand(BATCH, 1, 28, 28, device=DEVICE), torch.randint(0, 10, (BATCH,), device=DEVICE)
    return trained(model, torch.optim.Adam(model.parameters()), F.cross_entropy, x, y, steps)


def lstm(steps):
    model = Lstm().to(DEVICE)
    x, y = torch.rand(BATCH, 10, 10, device=DEVICE), torch.rand(BATCH, 1, device=DEVICE)
    return trained(model, torch.optim.Adam(model.parameters()), F.mse_loss, x, y, steps)


def transformer(sizes):
    batch, tokens, width = sizes["batch"], sizes["tokens"], sizes["width"]

    def weight(rows, cols):
        data = ((np.arange(rows * cols) * 7919 % 1000) / 1000 - 0.5) / np.sqrt(rows)
        return torch.tensor(data.reshape(rows, cols), dtype=torch.float32, device=DEVICE, requires_grad=True)

    weights = [weight(width, width) for _ in range(4)] + [weight(width, 4 * width), weight(4 * width, width)]
    optimizer = torch.optim.SGD(weights, lr=1e-3)
    given = ((np.arange(batch * tokens * width) * 31 % 97) / 97 - 0.5).reshape(batch, tokens, width)
    x = torch.tensor(given, dtype=torch.float32, device=DEVICE)

    def run():
        q, k, v, o, up, down = weights
        optimizer.zero_grad(set_to_none=True)
        with cast():
            score = torch.softmax((x @ q) @ (x @ k).transpose(1, 2) / width**0.5, -1)
            attended = x + (score @ (x @ v)) @ o
            y = attended + F.relu(attended @ up) @ down
            loss = ((y - x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return run, 1


def attend(q, k, v, rate=0.0, causal=False):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=causal)
    # PyTorch 1 has none.
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    if causal:
        scores = scores.masked_fill(torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1), float("-inf"))
    return F.dropout(torch.softmax(scores, -1), rate) @ v


def attention(sizes):
    batch, heads, tokens, dim, count = (sizes[k] for k in ("batch", "heads", "tokens", "dim", "count"))

    def given(seed):
        data = ((np.arange(batch * tokens * heads * dim) * 31 + 17 * seed) % 97) / 97 - 0.5
        t = torch.tensor(data.reshape(batch, tokens, heads, dim), dtype=torch.float32, device=DEVICE)
        return t.transpose(1, 2).to(torch.bfloat16 if HALF else torch.float32)

    q, k, v = [given(seed) for seed in (1, 2, 3)]

    def run():
        x = q
        for _ in range(count):
            leaves = [t.detach().requires_grad_() for t in (x, k, v)]
            attend(*leaves).sum().backward()
            x = x + leaves[0].grad + leaves[1].grad + leaves[2].grad
        return x

    return run, count


class Norm(nn.Module):
    """Layer normalization without a bias, which PyTorch 1 does not have as a module."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight)


class Block(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        width = sizes["width"]
        self.heads, self.rate = sizes["heads"], sizes["dropout"]
        self.before, self.between = Norm(width), Norm(width)
        self.project, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.wide, self.narrow = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        self.drop = nn.Dropout(self.rate)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = (t.view(batch, tokens, self.heads, -1).transpose(1, 2) for t in self.project(self.before(x)).split(width, 2))
        y = attend(q, k, v, self.rate, True)
        x = x + self.drop(self.out(y.transpose(1, 2).reshape(batch, tokens, width)))
        return x + self.drop(self.narrow(F.gelu(self.wide(self.between(x)))))


class Gpt(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(sizes["vocabulary"], sizes["width"]), nn.Embedding(sizes["block"], sizes["width"])
        self.blocks = nn.Sequential(*(Block(sizes) for _ in range(sizes["layers"])))
        self.last, self.drop = Norm(sizes["width"]), nn.Dropout(sizes["dropout"])

    def forward(self, ids):
        x = self.drop(self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device)))
        return self.last(self.blocks(x)) @ self.tokens.weight.T


def gpt(sizes):
    model = Gpt(sizes).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, **({"fused": True} if CUDA else {}))
    ids = torch.randint(0, sizes["vocabulary"], (sizes["steps"], sizes["batch"], sizes["block"] + 1), device=DEVICE)

    def run():
        for some in ids:
            optimizer.zero_grad(set_to_none=True)
            with cast():
                loss = F.cross_entropy(model(some[:, :-1]).flatten(0, 1), some[:, 1:].flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return loss

    return run, sizes["steps"]


def copy(sizes):
    count, size = sizes["count"], sizes["bytes"] // 4
    pairs = [(torch.ones(size, device=DEVICE), torch.empty(size, device=DEVICE)) for _ in range(count)]

    def run():
        for a, b in pairs:
            b.copy_(a)

    return run, count


name = torch.cuda.get_device_name() if CUDA else "CPU"
tell({"version": f"PyTorch {torch.__version__}", "adapter": name})
if "copy" in PARTS and not HALF:
    copied = SIZES["weights"]["copied"]
    row("copy", lambda: copy(copied), bytes=2 * copied["bytes"])
if "products" in PARTS:
    for n in SIZES["products"]:
        row(f"matmul {n}", lambda: matmul(n), 2 * n**3)
    i = SIZES["image"]
    row("conv2d", lambda: conv(i), 2 * i["count"] * i["side"] ** 2 * i["channels"] ** 2 * i["kernel"] ** 2)
if "attention" in PARTS:
    for a in SIZES["attention"]:
        row(f"attention {a['tokens']}", lambda: attention(a), 14 * a["batch"] * a["heads"] * a["tokens"] ** 2 * a["dim"])
if "networks" in PARTS:
    steps = SIZES["steps"]
    row("FFN", lambda: ffn(steps["FFN"]))
    row("CNN", lambda: cnn(steps["CNN"]))
    row("LSTM", lambda: lstm(steps["LSTM"]))
    row("transformer", lambda: transformer(SIZES["transformer"]))
if "gpt" in PARTS:
    g = SIZES["gpt"]
    row("gpt", lambda: gpt(g), tokens=g["batch"] * g["block"])
tell({})
