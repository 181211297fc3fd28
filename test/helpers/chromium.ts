/** A headless Chromium over its debugging pipe: no driver, no port. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

const USUAL = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** `TRAITSCOPE_CHROMIUM`, else where systems have it; undefined where there is none. */
export const CHROMIUM: string | undefined =
  process.env.TRAITSCOPE_CHROMIUM ?? USUAL.find((path) => existsSync(path))

type Params = Record<string, unknown>
interface Message {
  id?: number
  sessionId?: string
  method?: string
  params?: Params
  result?: Params
  error?: { message: string }
}

export interface Viewport {
  width: number
  height?: number
  dark?: boolean
  reducedMotion?: boolean
}

export class Chromium implements AsyncDisposable {
  readonly #process: ChildProcess
  readonly #profile = mkdtempSync(join(tmpdir(), 'traitscope-chromium-'))
  readonly #answers = new Map<number, (message: Message) => void>()
  readonly #listeners = new Set<(message: Message) => void>()
  #next = 1

  constructor(path: string) {
    const flags = [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--disable-background-networking',
      '--hide-scrollbars',
      '--remote-debugging-pipe',
      `--user-data-dir=${this.#profile}`,
      'about:blank',
    ]
    this.#process = spawn(path, flags, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] })
    let rest = ''
    const from = this.#process.stdio[4] as Readable
    from.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\0')
      rest = parts.pop()!
      for (const part of parts) this.#receive(JSON.parse(part))
    })
  }

  #receive(message: Message): void {
    if (message.id === undefined) for (const listener of this.#listeners) listener(message)
    else this.#answers.get(message.id)?.(message)
  }

  send(method: string, params: Params = {}, sessionId?: string): Promise<Params> {
    const id = this.#next++
    const to = this.#process.stdio[3] as Writable
    to.write(`${JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) })}\0`)
    return new Promise((resolve, reject) => {
      this.#answers.set(id, ({ result, error }) => {
        this.#answers.delete(id)
        if (error) reject(new Error(`${method}: ${error.message}`))
        else resolve(result!)
      })
    })
  }

  async open(url: string, viewport: Viewport = { width: 1280 }): Promise<BrowserPage> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true })
    const page = new BrowserPage(this, sessionId as string)
    this.#listeners.add((message) => {
      if (message.sessionId === sessionId) page.hear(message.method!, message.params ?? {})
    })
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await page.send(`${domain}.enable`)
    await page.look(viewport)
    await page.go(url)
    return page
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#process.once('exit', resolve))
    await this.send('Browser.close').catch(() => this.#process.kill())
    await gone
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** One tab, and everything that went wrong in it. */
export class BrowserPage {
  /** Errors of scripts, of the console and of the content security policy. */
  readonly problems: string[] = []
  /** Addresses that were asked for, the page's own and data: left out. */
  readonly requests: string[] = []
  #url = ''

  constructor(
    private readonly browser: Chromium,
    private readonly session: string,
  ) {}

  send(method: string, params: Params = {}): Promise<Params> {
    return this.browser.send(method, params, this.session)
  }

  hear(method: string, params: Params): void {
    if (method === 'Runtime.exceptionThrown') {
      const { exceptionDetails: details } = params as {
        exceptionDetails: { text: string; exception?: { description?: string } }
      }
      this.problems.push(details.exception?.description ?? details.text)
    }
    if (method === 'Runtime.consoleAPICalled' && params.type === 'error')
      this.problems.push(JSON.stringify(params.args))
    if (method === 'Log.entryAdded') {
      const { level, text } = params.entry as { level: string; text: string }
      if (level === 'error') this.problems.push(text)
    }
    if (method === 'Network.requestWillBeSent') {
      const { url } = params.request as { url: string }
      if (!url.startsWith('data:') && url !== this.#url) this.requests.push(url)
    }
  }

  async look({ width, height = 900, dark = false, reducedMotion = false }: Viewport): Promise<void> {
    await this.send('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: width < 600,
    })
    await this.send('Emulation.setEmulatedMedia', {
      features: [
        { name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' },
        { name: 'prefers-reduced-motion', value: reducedMotion ? 'reduce' : 'no-preference' },
      ],
    })
  }

  async go(url: string): Promise<void> {
    this.#url = new URL(url).href.replace(/#.*/, '')
    await this.send('Page.navigate', { url })
    await this.until("document.readyState === 'complete'")
  }

  /** The value of an expression, which may be a promise. */
  async run<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    })
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails))
    return (result as { value: T }).value
  }

  /** @throws when the expression does not become true within a minute */
  async until(expression: string): Promise<void> {
    for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(25)) {
      if (await this.run<boolean>(`Boolean(${expression})`).catch(() => false)) return
    }
    throw new Error(`expected ${expression} to become true within a minute`)
  }

  async press(key: string): Promise<void> {
    const text = key.length === 1 ? { text: key } : {}
    const code = { Tab: 9, Enter: 13, Escape: 27, ArrowLeft: 37, ArrowRight: 39 }[key]
    const all = {
      key,
      code: key,
      ...(code && { windowsVirtualKeyCode: code }),
      ...(key === 'Enter' && { text: '\r' }),
    }
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...all, ...text })
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...all })
  }

  /** A PNG of the whole page. */
  async picture(): Promise<Buffer> {
    const { data } = await this.send('Page.captureScreenshot', { captureBeyondViewport: true })
    return Buffer.from(data as string, 'base64')
  }

  async pdf(): Promise<Buffer> {
    const { data } = await this.send('Page.printToPDF', { printBackground: false })
    return Buffer.from(data as string, 'base64')
  }
}
