// Opens every page in Chromium: with scripts and without, in light, dark and print, wide and narrow.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { chromium } from 'playwright-core';

import { makePages } from './pages.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const work = join(root, 'target/pages');
const shots = join(work, 'shots');
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const MAX_BYTES = 4 * 1024 * 1024;

const pages = makePages(work);
mkdirSync(shots, { recursive: true });

/** A page in a window of its own. `faults` fills with whatever it says or asks for. */
async function open(browser, { out }, { scripts = true, scheme = 'light', width = 1100 } = {}) {
  const context = await browser.newContext({ javaScriptEnabled: scripts, colorScheme: scheme, viewport: { width, height: 900 } });
  context.setDefaultTimeout(120_000); // a busy machine draws 75 respondents' maps slowly
  const page = await context.newPage();
  const url = pathToFileURL(join(out, 'report.html')).href;
  const faults = [];
  page.on('console', (message) => faults.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => faults.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => { faults.push(`dialog: ${dialog.message()}`); return dialog.dismiss(); });
  page.on('request', (request) => { if (request.url() !== url) faults.push(`request: ${request.url()}`); });
  await page.goto(url);
  return { page, faults, close: () => context.close() };
}

/** The whole page as pictures that no picture is too tall for: a window's worth each, which takes a tenth of the time of cuts of the whole. */
async function picture(page, name) {
  const { width } = page.viewportSize();
  const step = 2400;
  await page.setViewportSize({ width, height: step });
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  for (let top = 0, part = 0; top < height; top += step, part += 1) {
    await page.evaluate((y) => window.scrollTo({ top: y, behavior: 'instant' }), top);
    await page.screenshot({ path: join(shots, `${name}-${part}.png`) });
  }
}

/** A concept's mark that nothing lies on, brought into view, with where to point at it. */
async function freeMark(page) {
  return page.evaluate(() => {
    for (const mark of document.querySelectorAll('.maps .marks use')) {
      mark.scrollIntoView({ block: 'center', behavior: 'instant' });
      const box = mark.getBoundingClientRect();
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      if (mark.contains(document.elementFromPoint(x, y))) {
        return { x, y, number: [...mark.classList].find((name) => /^c\d+$/.test(name)).slice(1) };
      }
    }
    return null;
  });
}

const shownNames = (page, number) =>
  page.evaluate((n) => [...document.querySelectorAll(`.maps .n${n}`)].map((name) => getComputedStyle(name).display), number);

let browser;
before(async () => {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args });
});
after(() => browser?.close());

for (const one of pages) {
  describe(one.name, () => {
    test('is there and is not too large', () => {
      assert.ok(existsSync(join(one.out, 'report.html')), one.out);
      assert.ok(statSync(join(one.out, 'report.html')).size <= MAX_BYTES);
    });

    for (const scripts of [true, false]) {
      test(`asks for nothing and complains of nothing, scripts ${scripts ? 'on' : 'off'}`, async () => {
        const { page, faults, close } = await open(browser, one, { scripts });
        await page.mouse.wheel(0, 20000);
        await page.waitForTimeout(200);
        assert.deepEqual(faults, []);
        assert.equal(await page.evaluate(() => window.ran), undefined);
        await close();
      });

      test(`pointing at a concept or moving to it shows its name, scripts ${scripts ? 'on' : 'off'}`, { skip: !one.hasMaps }, async () => {
        const { page, close } = await open(browser, one, { scripts });
        const mark = await freeMark(page);
        assert.ok(mark, 'some mark can be pointed at');
        const hidden = await shownNames(page, mark.number);
        assert.ok(hidden.length > 0 && hidden.every((display) => display === 'none'), `${hidden}`);
        await page.mouse.move(mark.x, mark.y);
        const shown = await shownNames(page, mark.number);
        assert.ok(shown.every((display) => display !== 'none'), 'in every map');

        await page.mouse.move(0, 0);
        await page.evaluate(() => window.scrollTo(0, 0));
        let focused = null;
        for (let i = 0; i < 80 && !focused; i += 1) {
          await page.keyboard.press('Tab');
          focused = await page.evaluate(() => document.activeElement?.matches('.maps .marks use')
            ? [...document.activeElement.classList].find((name) => /^c\d+$/.test(name)).slice(1) : null);
        }
        assert.ok(focused, 'the Tab key reaches a concept');
        const named = await shownNames(page, focused);
        assert.ok(named.every((display) => display !== 'none'), 'in every map');
        await close();
      });
    }

    test('the content policy lets nothing run and nothing load', async () => {
      const { page, faults, close } = await open(browser, one);
      const stopped = await page.evaluate(async () => {
        const stopped = [];
        document.addEventListener('securitypolicyviolation', (event) => stopped.push(event.effectiveDirective));
        const script = document.createElement('script');
        script.textContent = 'window.ran = 1';
        const image = document.createElement('img');
        image.src = 'report.png';
        document.body.append(script, image);
        await fetch('report.html').catch(() => {});
        await new Promise((done) => setTimeout(done, 200));
        return stopped;
      });
      assert.deepEqual(stopped.map((name) => name.replace('-elem', '')).sort(), ['connect-src', 'img-src', 'script-src']);
      assert.equal(await page.evaluate(() => window.ran), undefined);
      assert.ok(faults.every((fault) => !fault.startsWith('request: http')));
      await close();
    });

    for (const scheme of ['light', 'dark']) {
      test(`axe finds nothing serious, ${scheme}`, async () => {
        const { page, close } = await open(browser, one, { scheme });
        await page.evaluate(axe);
        const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        const serious = found.violations.filter((fault) => ['serious', 'critical'].includes(fault.impact));
        const told = serious.map((fault) => `${fault.id} (${fault.nodes.length}): ${fault.nodes[0].html.slice(0, 200)} ${fault.nodes[0].failureSummary}`);
        assert.deepEqual(told, []);
        await close();
      });
    }

    for (const width of [1100, 400]) {
      test(`nothing lies beyond the edge at ${width} pixels`, async () => {
        const { page, close } = await open(browser, one, { width });
        const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        assert.ok(content <= window, `${content} of ${window}`);
        await close();
      });
    }

    test('every figure is sound XML', async () => {
      const { page, close } = await open(browser, one);
      const folder = join(one.out, 'figures');
      const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.svg')) : [];
      assert.ok(names.length > 0 || !one.hasMaps);
      for (const name of names) {
        const fault = await page.evaluate((text) => {
          const parsed = new DOMParser().parseFromString(text, 'image/svg+xml');
          return parsed.querySelector('parsererror')?.textContent ?? (parsed.documentElement.localName === 'svg' ? null : 'no svg');
        }, readFileSync(join(folder, name), 'utf8'));
        assert.equal(fault, null, name);
      }
      await close();
    });

    test('pictures to look at', async () => {
      for (const [name, options] of [['light', {}], ['dark', { scheme: 'dark' }], ['narrow', { width: 400 }]]) {
        const { page, close } = await open(browser, one, options);
        await picture(page, `${one.name}-${name}`);
        if (name === 'light') await page.pdf({ path: join(shots, `${one.name}.pdf`), format: 'A4', preferCSSPageSize: true });
        await close();
      }
    });
  });
}
