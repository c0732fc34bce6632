/** @file Drawings of lockstep/inspect on the canvas of a page, beside what the page makes of their SVG. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeBrowser, withSiteContext } from "../browser.js";

const build = fileURLToPath(new URL("../../build", import.meta.url));
test.after(closeBrowser);

/** What is shipped, as a page loads it. */
function serve(request, response) {
  const name = /^\/([a-z-]+\.js)$/.exec(request.url)?.[1];
  if (name === undefined) return response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><canvas></canvas>");
  response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(join(build, name)));
}

test("drawings: a canvas shows what the picture shows", async () => {
  const seen = await withSiteContext(serve, async (context, address) => {
    const page = await context.newPage();
    await page.goto(address);
    return page.evaluate(async () => {
      const { plotHistory, plotConfusionMatrix } = await import("/inspect.js");
      const history = { epoch: [0, 1, 2, 3], history: { loss: [4, 2, 1, 0.5], valLoss: [5, 3, 2, 1.5] } };
      const pixelsOf = (source, width, height) => {
        const copy = Object.assign(document.createElement("canvas"), { width, height });
        const context = copy.getContext("2d");
        context.drawImage(source, 0, 0, width, height);
        return context.getImageData(0, 0, width, height).data;
      };
      const differences = [];
      for (const drawing of [plotHistory(history), plotConfusionMatrix([[8, 1], [2, 9]], { labels: ["cat", "dog"] })]) {
        const canvas = document.querySelector("canvas");
        drawing.draw(canvas, 2);
        const { width, height } = drawing;
        const image = new Image();
        image.src = `data:image/svg+xml,${encodeURIComponent(drawing.toSvg())}`;
        await image.decode();
        const [a, b] = [pixelsOf(canvas, width, height), pixelsOf(image, width, height)];
        let [different, inked] = [0, 0];
        for (let i = 0; i < a.length; i += 4) {
          if (Math.min(b[i], b[i + 1], b[i + 2]) < 250) inked++;
          if (Math.max(...[0, 1, 2].map((c) => Math.abs(a[i + c] - b[i + c]))) > 96) different++;
        }
        differences.push({ size: [canvas.width, canvas.height].join() === [2 * width, 2 * height].join(), inked, part: different / inked });
      }
      return differences;
    });
  });
  for (const { size, inked, part } of seen) {
    assert.ok(size && inked > 500, JSON.stringify(seen));
    // Letters and slanted lines are smoothed otherwise.
    assert.ok(part < 0.15, JSON.stringify(seen));
  }
});

test.run();
