"""Native PyTorch on the CPU running the checkpoints of `checkpoint.js`, under the contract of `../peers/worker.js`
(`torch_peer.py '{"threads": 1}'`): Llama with a cache of keys and values of fixed capacity, fused attention where PyTorch has it.
"""
import json
import os
import sys
import time

OPTIONS = json.loads(sys.argv[1])
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(OPTIONS["threads"])

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(OPTIONS["threads"])


def schedstat(path):
    try:
        with open(path) as f:
            ran, waited = f.read().split()[:2]
        return int(ran) / 1e6, int(waited) / 1e6
    except OSError:
        return 0, 0


def all_waited():
    try:
        return {t: schedstat(f"/proc/self/task/{t}/schedstat")[1] for t in os.listdir("/proc/self/task")}
    except OSError:
        return {}


class Llama:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json")) as f:
            c = json.load(f)
        path = os.path.join(folder, "model.safetensors")
        with open(path, "rb") as f:
            length = int.from_bytes(f.read(8), "little")
            header = json.loads(f.read(length))
        data = np.fromfile(path, dtype=np.uint8)[8 + length:]
        self.w = {
            name: torch.from_numpy(data[t["data_offsets"][0]:t["data_offsets"][1]].view(np.float32).reshape(t["shape"]).copy())
            for name, t in header.items()
        }
        self.layers, self.heads, self.dim = c["num_hidden_layers"], c["num_attention_heads"], c["hidden_size"]
        self.size = self.dim // self.heads
        self.capacity = c["max_position_embeddings"]
        self.cache = [torch.zeros(2, self.heads, self.capacity, self.size) for _ in range(self.layers)]
        angle = torch.outer(torch.arange(self.capacity).float(), 10000 ** (-torch.arange(0, self.size, 2).float() / self.size))
        self.cos, self.sin = torch.cat([angle, angle], 1).cos(), torch.cat([angle, angle], 1).sin()

    def norm(self, x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.w[name]

    def turned(self, x, cos, sin):
        half = self.size // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin

    def forward(self, ids, start):
        """Logits of the last token."""
        w, t = self.w, len(ids)
        x = w["model.embed_tokens.weight"][ids]
        cos, sin = self.cos[start:start + t], self.sin[start:start + t]
        mask = None if t == 1 else torch.full((t, start + t), float("-inf")).triu(start + 1)
        for i in range(self.layers):
            at = f"model.layers.{i}."
            h = self.norm(x, at + "input_layernorm.weight")
            q, k, v = (F.linear(h, w[f"{at}self_attn.{n}_proj.weight"]).view(t, self.heads, self.size).transpose(0, 1) for n in "qkv")
            q, k = self.turned(q, cos, sin), self.turned(k, cos, sin)
            self.cache[i][0, :, start:start + t] = k
            self.cache[i][1, :, start:start + t] = v
            keys, values = self.cache[i][0, :, :start + t], self.cache[i][1, :, :start + t]
            if hasattr(F, "scaled_dot_product_attention"):
                y = F.scaled_dot_product_attention(q[None], keys[None], values[None], attn_mask=mask)[0]
            else:
                scores = q @ keys.transpose(1, 2) / self.size ** 0.5
                y = (scores if mask is None else scores + mask).softmax(-1) @ values
            x = x + F.linear(y.transpose(0, 1).reshape(t, self.dim), w[at + "self_attn.o_proj.weight"])
            h = self.norm(x, at + "post_attention_layernorm.weight")
            h = F.silu(F.linear(h, w[at + "mlp.gate_proj.weight"])) * F.linear(h, w[at + "mlp.up_proj.weight"])
            x = x + F.linear(h, w[at + "mlp.down_proj.weight"])
        return F.linear(self.norm(x[-1:], "model.norm.weight"), w["model.embed_tokens.weight"])[0]


class Task:
    def __init__(self, kind, spec):
        self.model = Llama(spec["folder"])
        self.prompt = torch.tensor(spec["prompt"])
        self.kind, self.start = kind, spec["position"]
        self.values = self.model.forward(self.prompt, 0).tolist()
        self.at = self.start

    def unit(self):
        if self.kind == "prefill":
            self.model.forward(self.prompt, 0)
            return len(self.prompt)
        logits = self.model.forward(torch.tensor([7 * self.at % 32000]), self.at)
        logits.argmax().item()
        self.at = self.start if self.at + 1 >= self.start + 64 else self.at + 1
        return 1


task = None


def answer(value):
    print("@" + json.dumps(value), flush=True)


with torch.no_grad():
    for line in sys.stdin:
        request = json.loads(line)
        command = request["command"]
        try:
            if command == "start":
                answer({"version": f"PyTorch {torch.__version__}, {OPTIONS['threads']} threads", "python": sys.version.split()[0]})
            elif command == "prepare":
                task = None
                task = Task(request["kind"], request["spec"])
                answer({"values": task.values})
            elif command == "slice":
                before = (time.process_time(), all_waited(), schedstat("/proc/self/schedstat"))
                start, done = time.perf_counter(), 0
                while True:
                    done += task.unit()
                    ms = 1000 * (time.perf_counter() - start)
                    if ms >= request["ms"]:
                        break
                after = schedstat("/proc/self/schedstat")
                waited = all_waited()
                answer({
                    "done": done,
                    "ms": ms,
                    "cpuMs": 1000 * (time.process_time() - before[0]),
                    "ran": after[0] - before[2][0],
                    "waited": after[1] - before[2][1],
                    "mostWaited": max((w - before[1].get(t, 0) for t, w in waited.items()), default=0),
                })
            else:
                task = None
                answer({})
        except Exception as error:
            answer({"error": str(error).split("\n")[0][:300]})
