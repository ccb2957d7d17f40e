import { existsSync } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'
import type { Test } from 'tap'

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Where Chromium is on this machine. Undefined where it is not. */
export const chromiumPath = places.find((path) => existsSync(path))

/** What to say in place of a test that needs Chromium. False where it can run. */
export const noChromium =
  chromiumPath === undefined && process.env['REQUIRE_SERVICES'] !== '1'
    ? 'Chromium is not installed'
    : false

/** Starts a headless Chromium. It is closed when the test ends. */
export async function openChromium(t: Test): Promise<Browser> {
  if (chromiumPath === undefined) throw new Error('Chromium is not installed')
  // In a container it has no sandbox of its own.
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] })
  t.teardown(() => browser.close())
  return browser
}
