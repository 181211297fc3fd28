import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { CommandChannel } from '../../lib/notices/command-channel.js'
import { FileChannel } from '../../lib/notices/file-channel.js'
import type { Notice } from '../../lib/notices/notice.js'
import { WebhookChannel, type WebhookOptions } from '../../lib/notices/webhook-channel.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-notices-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const NOTICE: Notice = {
  schemaVersion: 1,
  kind: 'alarm',
  level: 'alarm',
  run: '/runs/<a> & "b"; $(touch x)',
  time: '2026-01-01T00:00:00.000Z',
  message: 'run <!channel> & @everyone: alarm',
  step: 20,
  em: 0.125,
}
const signal = new AbortController().signal
const script = (name: string, text: string) => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

describe('CommandChannel', () => {
  it('should hand over the notice on stdin and in the environment, through no shell', async () => {
    const out = join(folder, 'got.json')
    const path = script(
      'take.mjs',
      `import { readFileSync, writeFileSync } from 'node:fs'
       const env = Object.fromEntries(Object.entries(process.env).filter(([k]) => k.startsWith('TRAITSCOPE_NOTICE_')))
       writeFileSync(process.argv[2], JSON.stringify({ stdin: JSON.parse(readFileSync(0, 'utf8')), env, args: process.argv.slice(3) }))`,
    )
    await new CommandChannel([process.execPath, path, out, '$HOME', '*']).send(NOTICE)
    const { stdin, env, args } = JSON.parse(readFileSync(out, 'utf8'))
    expect(stdin).toEqual(NOTICE)
    expect(args).toEqual(['$HOME', '*'])
    expect(env).toEqual({
      TRAITSCOPE_NOTICE_KIND: 'alarm',
      TRAITSCOPE_NOTICE_LEVEL: 'alarm',
      TRAITSCOPE_NOTICE_RUN: NOTICE.run,
      TRAITSCOPE_NOTICE_STEP: '20',
      TRAITSCOPE_NOTICE_EM: '0.125',
      TRAITSCOPE_NOTICE_THRESHOLD: '',
      TRAITSCOPE_NOTICE_CHECKPOINT: '',
      TRAITSCOPE_NOTICE_MESSAGE: NOTICE.message,
    })
  })

  it.each<[string, string[], RegExp, number?]>([
    [
      'a program that fails',
      ['-e', 'console.error("one\\nno such job"); process.exit(3)'],
      /^it ended with 3: no such job$/,
    ],
    [
      'one that hangs',
      ['-e', 'setInterval(() => {}, 1000)'],
      /^it was still running after 0.5 s, and was ended$/,
      500,
    ],
    ['one that closes its stdin', ['-e', 'process.stdin.destroy(); process.exit(1)'], /^it ended with 1$/],
  ])('should say why %s did nothing', async (_, args, reason, limitMs = 60_000) => {
    const channel = new CommandChannel([process.execPath, ...args], undefined, limitMs)
    await expect(channel.send(NOTICE)).rejects.toMatchObject({
      message: expect.stringMatching(reason),
      isFinal: true,
    })
  })

  it('should not wait for what the program leaves running', async () => {
    const path = script(
      'leave.mjs',
      `import { spawn } from 'node:child_process'
       const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 20000)'], { stdio: 'inherit', detached: true })
       console.error(child.pid)
       child.unref()
       process.exitCode = 3`,
    )
    const failure = await new CommandChannel([process.execPath, path]).send(NOTICE).catch((one) => one)
    const [, pid] = /^it ended with 3: (\d+)$/.exec(failure.message)!
    // It still runs: ended here, and nobody has waited for it.
    expect(process.kill(Number(pid), 'SIGKILL')).toBe(true)
  })

  it('should say that there is no such program', async () => {
    await expect(new CommandChannel([join(folder, 'none')]).send(NOTICE)).rejects.toThrowError(
      /could not be run: .*ENOENT/,
    )
  })
})

describe('FileChannel', () => {
  it('should write the notice for what is a request, and never take it back', async () => {
    const path = join(folder, 'deep', 'stop')
    const channel = new FileChannel(async () => path, 'stop file', ['alarm'])
    expect(channel.accepts(NOTICE)).toBe(true)
    const others = [{ kind: 'warn' }, { kind: 'cleared' }, { repeated: true }, { heldBack: true }]
    for (const other of others as Partial<Notice>[]) {
      expect(channel.accepts({ ...NOTICE, ...other })).toBe(false)
    }
    expect(channel.requests({ ...NOTICE, heldBack: true })).toBe(true)
    expect(channel.requests({ ...NOTICE, kind: 'warn' })).toBe(false)
    await channel.send(NOTICE)
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(NOTICE)
    await expect(
      new FileChannel(async () => join(path, 'below'), 'stop file', ['alarm']).send(NOTICE),
    ).rejects.toThrowError(/stop/)
  })

  it('should take a later notice of an alarm whose request could not be written', async () => {
    writeFileSync(join(folder, 'taken'), '')
    let path = join(folder, 'taken', 'stop')
    const channel = new FileChannel(async () => path, 'stop file', ['alarm'])
    const again: Notice = { ...NOTICE, repeated: true }
    await expect(channel.send(NOTICE)).rejects.toThrowError(/taken/)
    expect([channel.accepts(again), channel.accepts({ ...again, run: '/runs/other' })]).toEqual([true, false])
    path = join(folder, 'owed')
    await channel.send(again)
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(again)
    expect(channel.accepts(again)).toBe(false)
  })
})

interface Received {
  url: string
  headers: IncomingHttpHeaders
  body: Record<string, unknown>
}

/** A server that answers with these, one after the other; 0 cuts the connection, -1 says nothing. */
async function webhook(answers: [status: number, headers?: Record<string, string>][]) {
  const received: Received[] = []
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    received.push({
      url: request.url!,
      headers: request.headers,
      body: JSON.parse(Buffer.concat(chunks).toString()),
    })
    const [status, headers] = answers[received.length - 1] ?? [200]
    if (status === 0) return request.socket.destroy()
    if (status > 0) response.writeHead(status, headers).end('said something secret')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return { port: (server.address() as AddressInfo).port, received, [Symbol.asyncDispose]: close }
}

describe('WebhookChannel', () => {
  it.each<[WebhookOptions['format'], string, Record<string, unknown>]>([
    [undefined, '/hooks/s3cret', NOTICE as unknown as Record<string, unknown>],
    ['slack', '/hooks/s3cret', { text: '[ALARM] run &lt;!channel&gt; &amp; @everyone: alarm' }],
    [
      'discord',
      '/hooks/s3cret',
      { content: '[ALARM] run <!channel> & @everyone: alarm', allowed_mentions: { parse: [] } },
    ],
    ['ntfy', '/', { topic: 's3cret', title: 'traitscope: alarm', message: NOTICE.message, priority: 5 }],
  ])('should post as %s has it', async (format, url, body) => {
    await using server = await webhook([])
    const at = format === 'ntfy' ? '/s3cret' : '/hooks/s3cret'
    const channel = new WebhookChannel(`http://127.0.0.1:${server.port}${at}`, { format, token: 't0ken' })
    await channel.send(NOTICE, signal)
    expect(server.received).toMatchObject([{ url, body, headers: { authorization: 'Bearer t0ken' } }])
    expect(channel.name).not.toMatch(/s3cret|t0ken/)
  })

  it.each([
    ['https://hooks.slack.com/services/x', 'slack'],
    ['https://discord.com/api/webhooks/x', 'discord'],
    ['https://ntfy.sh/x', 'ntfy'],
    ['https://hooks.slack.com.example.org/x', 'generic'],
  ])('should tell by the host of %s that it is %s', (url, format) => {
    expect(new WebhookChannel(url).name).toContain(`(${format})`)
  })

  it.each<[string, [number, Record<string, string>?], object]>([
    ['a refusal', [403], { isFinal: true, message: 'it answered 403' }],
    [
      'a redirection',
      [302, { location: 'http://127.0.0.1:9/' }],
      { isFinal: true, message: 'it answered 302' },
    ],
    ['a fault of the server', [502], { isFinal: false, message: 'it answered 502' }],
    ['a limit', [429, { 'retry-after': '7' }], { isFinal: false, retryAfterMs: 7000 }],
    [
      'a cut connection',
      [0],
      { isFinal: false, message: expect.stringMatching(/^the connection failed \(\w+\)$/) },
    ],
    ['silence', [-1], { isFinal: false, message: 'no answer within 0.2 s' }],
  ])('should say what %s is worth, and no secret', async (what, answer, failure) => {
    await using server = await webhook([answer])
    const timeoutMs = what === 'silence' ? 200 : 60_000
    const channel = new WebhookChannel(`http://127.0.0.1:${server.port}/s3cret`, { timeoutMs })
    const error = await channel.send(NOTICE, signal).catch((caught: unknown) => caught)
    expect(error).toMatchObject(failure)
    expect(String(error)).not.toMatch(/s3cret|said something/)
  })

  it.each(['s3cret', 'ftp://host/s3cret', 'file:///etc/s3cret'])(
    'should refuse %s without repeating it',
    (url) => {
      const error = (() => {
        try {
          return new WebhookChannel(url)
        } catch (caught) {
          return caught
        }
      })()
      expect(error).toMatchObject({ code: 'USAGE' })
      expect(String(error)).not.toContain('s3cret')
    },
  )
})
