# What workerd runs: the bundle, the kernels and the model, each as a module. Cloudflare's wrangler writes the same from wrangler.toml.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "plain.wasm", wasm = embed "plain.wasm"),
    (name = "relaxed.wasm", wasm = embed "relaxed.wasm"),
    (name = "model.safetensors", data = embed "model.safetensors"),
  ],
  compatibilityDate = "2025-09-01",
);
