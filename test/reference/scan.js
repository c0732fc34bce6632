/** @file Loops: the calls of the body again and again, over one step's rows of what moves. */

const sizeOf = (shape) => shape.reduce((a, d) => a * d, 1);

/** What each binding of the body is: an operand, something carried or something collected, with its place among them. */
export function bindingsOf({ bindings }) {
  const counts = { operand: 0, carried: 0, collected: 0 };
  return bindings.map(({ kind, written, shape }) => {
    const role = kind === "output" ? "collected" : written ? "carried" : "operand";
    return { role, at: counts[role]++, size: sizeOf(shape) };
  });
}

export function scan({ length, reverse, moves }, inputs, outputs, { body }, runCalls) {
  const roles = bindingsOf(body);
  const carried = roles.filter(({ role }) => role === "carried").length;
  const collected = roles.filter(({ role }) => role === "collected").length;
  const slots = outputs.slice(carried + collected);
  for (let step = 0; step < length; step++) {
    const t = reverse ? length - 1 - step : step;
    const row = (all, size) => all.subarray(t * size, (t + 1) * size);
    const bindings = roles.map(({ role, at, size }) => {
      if (role === "carried") return outputs[at];
      if (role === "collected") return row(outputs[carried + at], size);
      return moves[at] ? row(inputs[at], size) : inputs[at];
    });
    for (const slot of slots) slot.fill(NaN);
    runCalls(body.calls, (operand) => {
      if (!operand) return null;
      const { space, index, offset } = operand.place;
      const whole = space === "slot" ? slots[index] : bindings[index];
      return whole.subarray(offset / 4, offset / 4 + sizeOf(operand.shape));
    });
  }
}
