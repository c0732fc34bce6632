"""Native PyTorch on the CPU under the contract of `worker.js` (`torch_peer.py '{"threads": 1}'`), and of
`first.js` (`torch_peer.py first`).

Numbers come from the same hash as in `workloads.js`. What PyTorch offers to be fast is used: `nn.LSTM` where its activations allow it,
scripted loops where not, traced and frozen networks for predictions, Adam without copies of gradients.
"""
import json
import os
import sys
import time

FIRST = sys.argv[1] == "first"
OPTIONS = {"threads": 1} if FIRST else json.loads(sys.argv[1])
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(OPTIONS["threads"])


def schedstat(path):
    """As in waited.js: ms that a thread has run and waited."""
    try:
        with open(path) as f:
            ran, waited = f.read().split()[:2]
        return int(ran) / 1e6, int(waited) / 1e6
    except OSError:
        return 0, 0


def main_thread():
    return schedstat("/proc/self/schedstat")


def all_waited():
    try:
        return {t: schedstat(f"/proc/self/task/{t}/schedstat")[1] for t in os.listdir("/proc/self/task")}
    except OSError:
        return {}


def clock():
    """ms without those in which others had the processor"""
    return 1000 * time.perf_counter() - main_thread()[1]


begun = clock()
import numpy as np
import torch
from torch import nn
imported = clock()

torch.set_num_threads(OPTIONS["threads"])
torch.manual_seed(0)
HERE = os.path.dirname(os.path.abspath(__file__))
BATCH, STEPS = 32, 4


def noise(count, seed, low=0.0, high=1.0):
    h = (np.arange(count, dtype=np.uint64) + np.uint64(seed * 0x9E3779B1 & 0xFFFFFFFF)).astype(np.uint32)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x735A2D97)
    return (low + (high - low) * ((h ^ (h >> np.uint32(15))) >> np.uint32(8)).astype(np.float64) / 16777216).astype(np.float32)


def spread(t):
    flat = t.reshape(-1)
    count = min(flat.numel(), 61)
    return [float(flat[i * flat.numel() // 61]) for i in range(count)]


class ReluLstm(nn.Module):
    """nn.LSTM knows tanh alone. Scripted, so that the loop over time steps is not Python's."""

    def __init__(self, features, units):
        super().__init__()
        self.units = units
        self.weight_ih = nn.Parameter(torch.empty(4 * units, features))
        self.weight_hh = nn.Parameter(torch.empty(4 * units, units))
        self.bias = nn.Parameter(torch.empty(4 * units))

    def forward(self, x):
        z = nn.functional.linear(x, self.weight_ih, self.bias)
        h = torch.zeros(x.size(0), self.units)
        c = torch.zeros(x.size(0), self.units)
        w = self.weight_hh.t()
        for t in range(x.size(1)):
            i, f, g, o = torch.addmm(z[:, t], h, w).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.relu(g)
            h = torch.sigmoid(o) * torch.relu(c)
        return h


class TanhLstm(nn.Module):
    def __init__(self, features, units):
        super().__init__()
        self.lstm = nn.LSTM(features, units, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0][:, -1]


ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "softmax": lambda: nn.Softmax(-1), "tanh": nn.Tanh}


def glorot(shape, index, fan_in, fan_out):
    limit = float(np.sqrt(6 / (fan_in + fan_out)))
    return noise(int(np.prod(shape)), 100 + index, -limit, limit).reshape(shape)


def network(spec, logits):
    """Modules with the weights of `weightsOf`; without the last activation when `logits`."""
    shape, flat, modules, index = list(spec["input"]), None, [], 0
    for k, layer in enumerate(spec["layers"]):
        kind, units, activation = layer["kind"], layer.get("units"), layer.get("activation")
        with torch.no_grad():
            if kind == "dense":
                module = nn.Linear(shape[0], units)
                w = glorot((shape[0], units), index, shape[0], units)
                if flat is not None:
                    w = w.reshape(*flat, units).transpose(2, 0, 1, 3).reshape(shape[0], units)
                module.weight.copy_(torch.from_numpy(w.T.copy()))
                module.bias.copy_(torch.from_numpy(glorot((units,), index + 1, units, units)))
                shape, flat, index = [units], None, index + 2
            elif kind == "conv2d":
                h, w, c = shape
                module = nn.Conv2d(c, units, 3)
                module.weight.copy_(torch.from_numpy(glorot((3, 3, c, units), index, 9 * c, 9 * units).transpose(3, 2, 0, 1).copy()))
                module.bias.copy_(torch.from_numpy(glorot((units,), index + 1, units, units)))
                shape, index = [h - 2, w - 2, units], index + 2
            elif kind == "maxPool2d":
                module, shape = nn.MaxPool2d(2), [shape[0] // 2, shape[1] // 2, shape[2]]
            elif kind == "flatten":
                module, flat, shape = nn.Flatten(), shape, [shape[0] * shape[1] * shape[2]]
            else:
                f = shape[1]
                kernel, recurrent = glorot((f, 4 * units), index, f, 4 * units), glorot((units, 4 * units), index + 1, units, 4 * units)
                bias = torch.from_numpy(glorot((4 * units,), index + 2, 4 * units, 4 * units))
                module = (TanhLstm if activation == "tanh" else ReluLstm)(f, units)
                inner = module.lstm if activation == "tanh" else module
                (inner.weight_ih_l0 if activation == "tanh" else inner.weight_ih).copy_(torch.from_numpy(kernel.T.copy()))
                (inner.weight_hh_l0 if activation == "tanh" else inner.weight_hh).copy_(torch.from_numpy(recurrent.T.copy()))
                if activation == "tanh":
                    inner.bias_ih_l0.copy_(bias)
                    inner.bias_hh_l0.zero_()
                    # One bias, as in the others: training both would double its steps.
                    inner.bias_hh_l0.requires_grad_(False)
                else:
                    inner.bias.copy_(bias)
                    module = torch.jit.script(module)
                activation, shape, index = None, [units], index + 3
        modules.append(module)
        if activation in ACTIVATIONS and not (logits and k == len(spec["layers"]) - 1):
            modules.append(ACTIVATIONS[activation]())
    return nn.Sequential(*modules)


def image_shape(spec):
    s = spec["input"]
    return [s[2], s[0], s[1]] if len(s) == 3 else s


def one_of(spec):
    return torch.from_numpy(noise(int(np.prod(spec["input"])), 2)).reshape(1, *image_shape(spec))


def product(n, request):
    a = torch.from_numpy(noise(n * n, 7, -1, 1)).reshape(n, n)
    b = torch.from_numpy(noise(n * n, 8, -float(np.sqrt(3 / n)), float(np.sqrt(3 / n)))).reshape(n, n)
    repeats = request["repeats"]
    y, z = torch.empty(n, n), torch.empty(n, n)

    def unit():
        torch.mm(a, b, out=y)
        last, free = y, z
        for _ in range(repeats - 1):
            torch.mm(last, b, out=free)
            last, free = free, last
        unit.result = last
        return repeats

    unit()
    return spread(unit.result), unit


def convolution(_, request):
    v = request["spec"]
    n, h, w, c, f = (v[k] for k in "nhwcf")
    x = torch.from_numpy(noise(n * h * w * c, 9, -1, 1)).reshape(n, h, w, c).permute(0, 3, 1, 2).contiguous()
    k = torch.from_numpy(noise(9 * c * f, 10, -0.1, 0.1)).reshape(3, 3, c, f).permute(3, 2, 0, 1).contiguous()
    pad = 1 if v["padding"] == "same" else 0

    def unit():
        unit.result = torch.conv2d(x, k, padding=pad)
        return 1

    with torch.inference_mode():
        unit()
    return spread(unit.result.permute(0, 2, 3, 1)), unit


def train(_, request):
    spec = request["spec"]
    samples, loss_name = spec["samples"], spec["loss"]
    x = torch.from_numpy(noise(samples * int(np.prod(spec["input"])), 1)).reshape(samples, *image_shape(spec))
    y = noise(samples, 3)
    if loss_name == "binaryCrossentropy":
        target, loss = torch.from_numpy((y > 0.5).astype(np.float32)).reshape(samples, 1), nn.functional.binary_cross_entropy_with_logits
    elif loss_name == "categoricalCrossentropy":
        target, loss = torch.from_numpy((y * 10).astype(np.int64)), nn.functional.cross_entropy
    else:
        target, loss = torch.from_numpy(y).reshape(samples, 1), nn.functional.mse_loss
    model = network(spec, logits=True)
    # `foreach` was not faster on a CPU; the copy of gradients that zeroing in place needs is avoided.
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3, eps=1e-7, foreach=False)
    batches, targets = x.split(BATCH), target.split(BATCH)
    finish = {"binaryCrossentropy": torch.sigmoid, "categoricalCrossentropy": lambda z: torch.softmax(z, -1), "mse": lambda z: z}[loss_name]

    def predict():
        with torch.no_grad():
            return finish(model(one_of(spec))).reshape(-1).tolist()

    before = predict()

    def unit():
        i = unit.next % len(batches)
        unit.next += 1
        optimizer.zero_grad(set_to_none=True)
        loss(model(batches[i]), targets[i]).backward()
        optimizer.step()
        return BATCH

    unit.next = 0
    for _ in range(STEPS):
        unit()
    return [a - b for a, b in zip(predict(), before)], unit


class GptBlock(nn.Module):
    """As nanoGPT's, in the order of operations that is quickest here: mask and scale are part of the product of queries and keys."""

    def __init__(self, spec, index):
        super().__init__()
        c, self.heads = spec["width"], spec["heads"]

        def kernel(i, rows, columns):
            limit = 0.02 * float(np.sqrt(3))
            return torch.from_numpy(noise(rows * columns, 200 + index + i, -limit, limit).reshape(rows, columns).T.copy())

        self.first, self.second = nn.Parameter(torch.ones(c)), nn.Parameter(torch.ones(c))
        self.qkv = nn.Parameter(torch.cat([kernel(i, c, c) for i in (1, 2, 3)]))
        self.out = nn.Parameter(kernel(4, c, c))
        self.wide, self.narrow = nn.Parameter(kernel(6, c, 4 * c)), nn.Parameter(kernel(7, 4 * c, c))
        t = spec["block"]
        self.mask = torch.full((1, t, t), float("-inf")).triu(1)

    def forward(self, x):
        f = nn.functional
        b, t, c = x.shape
        d = c // self.heads
        qkv = f.linear(f.layer_norm(x, (c,), self.first, None, 1e-5), self.qkv)
        q, k, v = (p.reshape(b, t, self.heads, d).transpose(1, 2).reshape(b * self.heads, t, d) for p in qkv.split(c, 2))
        scores = torch.baddbmm(self.mask, q, k.transpose(1, 2), alpha=d**-0.5)
        y = torch.bmm(torch.softmax(scores, -1), v).view(b, self.heads, t, d).transpose(1, 2).reshape(b, t, c)
        x = x + f.linear(y, self.out)
        return x + f.linear(f.gelu(f.linear(f.layer_norm(x, (c,), self.second, None, 1e-5), self.wide)), self.narrow)


class Gpt(nn.Module):
    def __init__(self, spec):
        super().__init__()
        v, t, c = spec["vocabulary"], spec["block"], spec["width"]
        limit = 0.02 * float(np.sqrt(3))
        self.tokens = nn.Parameter(torch.from_numpy(noise(v * c, 200, -limit, limit).reshape(v, c)))
        self.positions = nn.Parameter(torch.from_numpy(noise(t * c, 201, -limit, limit).reshape(t, c)))
        self.blocks = nn.Sequential(*(GptBlock(spec, 2 + 8 * i) for i in range(spec["layers"])))
        self.last = nn.Parameter(torch.ones(c))

    def forward(self, ids):
        f = nn.functional
        x = self.blocks(f.embedding(ids, self.tokens) + self.positions)
        return f.linear(f.layer_norm(x, self.last.shape, self.last, None, 1e-5), self.tokens)


def gpt(_, request):
    spec = request["spec"]
    block, batch, windows = spec["block"], spec["batch"], spec["windows"]
    ids = torch.from_numpy((noise(windows * block + 1, 11).astype(np.float64) * spec["vocabulary"]).astype(np.int64))
    x, y = ids[:-1].view(windows, block).split(batch), ids[1:].view(windows, block).split(batch)
    model = Gpt(spec)
    betas = (spec["beta1"], spec["beta2"])
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=spec["learningRate"], betas=betas, eps=spec["epsilon"], weight_decay=spec["weightDecay"], foreach=False
    )

    def logits():
        with torch.no_grad():
            return model(x[0][:1]).clone()

    before = logits()

    def unit():
        i = unit.next % len(x)
        unit.next += 1
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x[i]).view(-1, spec["vocabulary"]), y[i].reshape(-1)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), spec["clip"])
        optimizer.step()
        return batch * block

    unit.next = 0
    for _ in range(STEPS):
        unit()
    return spread(logits() - before), unit


def predict(_, request):
    spec = request["spec"]
    model = network(spec, logits=False).eval()
    one = one_of(spec).numpy()
    with torch.inference_mode():
        run = torch.jit.freeze(torch.jit.trace(model, torch.from_numpy(one)))

    def unit():
        unit.result = run(torch.from_numpy(one)).numpy()
        return 1

    with torch.inference_mode():
        for _ in range(5):
            unit()
    return unit.result.reshape(-1).tolist(), unit


MAKE = {"matmul": product, "conv2d": convolution, "train": train, "gpt": gpt, "predict": predict}


def main():
    unit, inference = None, True
    for line in sys.stdin:
        request = json.loads(line)
        command = request["command"]
        try:
            if command == "start":
                blas = os.path.realpath("/usr/lib/x86_64-linux-gnu/libblas.so.3")
                threads = OPTIONS["threads"]
                reply = {
                    "version": f"PyTorch {torch.__version__}, {threads} thread{'s' if threads > 1 else ''}, BLAS {blas.split('/')[-2]}",
                    "python": sys.version.split()[0],
                }
            elif command == "prepare":
                values, unit = MAKE[request["kind"]](request["of"], request)
                inference = request["kind"] not in ("train", "gpt")
                reply = {"values": values}
            elif command == "slice":
                done, calls = 0, 0
                with torch.inference_mode(inference):
                    threads, cpu, before, start = all_waited(), time.process_time(), main_thread(), time.perf_counter()
                    while True:
                        for _ in range(max(1, min(50, calls >> 3))):
                            done += unit()
                            calls += 1
                        ms = 1000 * (time.perf_counter() - start)
                        if ms >= request["ms"]:
                            break
                after = main_thread()
                cpu = 1000 * (time.process_time() - cpu)
                most = max([0, *(v - threads.get(t, 0) for t, v in all_waited().items())])
                reply = {
                    "done": done,
                    "ms": ms,
                    "cpuMs": cpu,
                    "ran": after[0] - before[0],
                    "waited": after[1] - before[1],
                    "mostWaited": most,
                }
            else:
                unit, reply = None, {}
        except Exception as error:
            reply = {"error": str(error).split("\n")[0][:300]}
        print("@" + json.dumps(reply), flush=True)


def first():
    spec = json.loads(sys.argv[2])
    with torch.inference_mode():
        model = network(spec, logits=False).eval()
        made = clock()
        values = model(one_of(spec)).reshape(-1).tolist()
    end = clock()
    marks = {"import": imported - begun, "model": made - imported, "predict": end - made}
    print("@" + json.dumps({"marks": marks, "total": end - begun, "values": values}))


first() if FIRST else main()
