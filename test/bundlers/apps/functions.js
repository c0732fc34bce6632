/** @file Functions of tensors alone. */
import { compile, matmul, open, sum, tensor } from "lockstep";

export async function run() {
  const backend = await open("wasm", { reproducible: true, threads: 1 });
  const f = compile((a, b) => sum(matmul(a, b)), { backend });
  return { value: await (await f(tensor([[1, 2], [3, 4]]), tensor([[5, 6], [7, 8]]))).item() };
}
