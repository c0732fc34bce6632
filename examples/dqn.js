/**
 * @file Deep Q-learning (Mnih et al. 2015) of a game, with a replay memory and a target network: a ball falls, and a paddle at the bottom
 * has to be under it. The learning step, which reads two networks and trains one, is one compiled program.
 *
 *   node examples/dqn.js [--epochs N] [--seed N]        epochs: hundreds of games
 */
import { adam, add, assign, compile, dense, max, mean, mul, oneHot, sequential, square, sub, sum, tensor, valueAndGrad } from "lockstep";
import { options, percent, report, start } from "./common.js";
import { uniform } from "./data.js";

const SIDE = 7;
const ACTIONS = 3;
const BATCH = 32;
const MEMORY = 4000;
const DISCOUNT = 0.95;

/** A game: the ball at the top, the paddle in the middle. */
const begin = (random) => ({ x: Math.floor(random() * SIDE), y: 0, paddle: SIDE >> 1 });
const observe = ({ x, y, paddle }) => [x / 3 - 1, y / 3 - 1, paddle / 3 - 1];

/** The paddle moves to the left, stays or moves to the right, the ball falls by one row. */
function move(game, action) {
  const next = { x: game.x, y: game.y + 1, paddle: Math.min(SIDE - 1, Math.max(0, game.paddle + action - 1)) };
  const over = next.y === SIDE - 1;
  return { next, over, reward: over ? (next.x === next.paddle ? 1 : -1) : 0 };
}

export async function dqn(o = options({ epochs: 8 })) {
  const random = uniform(o.seed);
  const make = () =>
    sequential([dense(32, { activation: "relu" }), dense(32, { activation: "relu" }), dense(ACTIONS)], { inputShape: [3], seed: o.seed });
  const [network, target] = [make(), make()];
  const optimizer = adam({ learningRate: 2e-3 });

  const learn = compile(
    (states, actions, rewards, ends, nexts) => {
      const best = max(target.call(nexts), { axis: 1 });
      const wanted = add(rewards, mul(mul(best, sub(1, ends)), DISCOUNT));
      const { value, grads } = valueAndGrad(() => {
        const chosen = sum(mul(network.call(states), oneHot(actions, ACTIONS)), { axis: 1 });
        return mean(square(sub(wanted, chosen)));
      }, network.parameters)();
      optimizer.update(network.parameters, grads);
      return value;
    },
    { training: true },
  );
  const follow = compile(() => target.parameters.forEach((w, i) => assign(w, network.parameters[i])));

  const act = async (game, exploring) => {
    if (random() < exploring) return Math.floor(random() * ACTIONS);
    const q = await (await network.predict(tensor([observe(game)]))).data();
    return q.indexOf(Math.max(...q));
  };
  const memory = [];
  const losses = [];
  const wins = [];
  let steps = 0;
  for (let epoch = 0; epoch < o.epochs; epoch++) {
    let won = 0;
    let loss = 0;
    for (let played = 0; played < 100; played++) {
      let game = begin(random);
      for (let over = false; !over;) {
        const action = await act(game, Math.max(0.05, 1 - steps / 2000));
        const result = move(game, action);
        memory[steps++ % MEMORY] = [observe(game), action, result.reward, Number(result.over), observe(result.next)];
        ({ over, next: game } = result);
        if (over && result.reward > 0) won++;
        if (memory.length < BATCH) continue;
        const batch = Array.from({ length: BATCH }, () => memory[Math.floor(random() * memory.length)]);
        const column = (i, dtype) =>
          tensor(
            batch.map((row) => row[i]),
            undefined,
            dtype,
          );
        loss = await (await learn(column(0), column(1, "i32"), column(2), column(3), column(4))).item();
        if (steps % 200 === 0) await follow();
      }
    }
    losses.push(loss);
    wins.push(won / 100);
    if (o.verbose) console.log(`${100 * (epoch + 1)} games - caught ${won} of 100 - loss: ${loss.toFixed(4)}`);
  }

  let caught = 0;
  for (let x = 0; x < SIDE; x++) {
    let game = { ...begin(random), x };
    for (let over = false; !over;) {
      const result = move(game, await act(game, 0));
      ({ over, next: game } = result);
      if (result.reward > 0) caught++;
    }
  }
  report(`DQN, ball and paddle, ${steps} steps`, {
    "caught without chance": `${caught} of ${SIDE}`,
    "at first": percent(wins[0]),
    "at last": percent(wins.at(-1)),
  });
  return { caught, of: SIDE, losses, wins };
}

await start(import.meta.url, dqn);
