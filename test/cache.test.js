/** Caches: what stays, what goes, and that nothing is closed that is still to be used. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Lru } from "../build/esm/cache.js";

class Thing {
  constructor(bytes) {
    this.bytes = bytes;
    this.closed = false;
  }

  close() {
    this.closed = true;
  }
}

const make = (bytes) => async () => new Thing(bytes);

test("what was not used for longest goes when there are too many bytes", async () => {
  const lru = new Lru(100);
  const a = await lru.get("a", make(40));
  const b = await lru.get("b", make(40));
  assert.is(await lru.get("a", make(40)), a);
  const c = await lru.get("c", make(40));
  assert.equal([a.closed, b.closed, c.closed], [false, true, false]);
  assert.is(await lru.get("a", make(40)), a);
  assert.is.not(await lru.get("b", make(40)), b);
  assert.ok(c.closed);
});

test("one that is larger than all may be stays for as long as it is the last", async () => {
  const lru = new Lru(100);
  const big = await lru.get("big", make(1000));
  assert.is(await lru.get("big", make(1000)), big);
  assert.not.ok(big.closed);
  await lru.get("a", make(1));
  assert.ok(big.closed);
});

test("and when there are too many", async () => {
  const lru = new Lru(Infinity, 3);
  const all = [];
  for (let i = 0; i < 10; i++) all.push(await lru.get(`${i}`, make(1)));
  assert.equal(
    all.map((t) => t.closed),
    [...new Array(7).fill(true), false, false, false],
  );
});

test("what was just made is not closed before whoever asked for it has it", async () => {
  const lru = new Lru(1);
  const things = await Promise.all(
    [5, 1, 3].map(async (ticks, i) =>
      lru
        .get(`${i}`, async () => {
          for (let k = 0; k < ticks; k++) await null;
          return new Thing(1);
        })
        .then((t) => ({ t, closedThen: t.closed })),
    ),
  );
  assert.equal(
    things.map((t) => t.closedThen),
    [false, false, false],
  );
});

test("what fails is forgotten", async () => {
  const lru = new Lru(100);
  await lru
    .get("a", async () => {
      throw new Error("not now");
    })
    .then(
      () => assert.unreachable(),
      (e) => assert.is(e.message, "not now"),
    );
  assert.is((await lru.get("a", make(1))).bytes, 1);
});

test("what others closed is made again, and its bytes do not count twice", async () => {
  const lru = new Lru(100);
  const a = await lru.get("a", make(60));
  a.close();
  const again = await lru.get("a", make(60));
  assert.is.not(again, a);
  const b = await lru.get("b", make(40));
  assert.equal([again.closed, b.closed], [false, false]);
});

test("clear closes all, also what is still being made", async () => {
  const lru = new Lru(100);
  const a = await lru.get("a", make(1));
  const later = lru.get("b", make(1));
  lru.clear();
  assert.ok(a.closed);
  const b = await later;
  await null;
  assert.ok(b.closed);
  assert.is.not(await lru.get("a", make(1)), a);
});

test.run();
