import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Terminal } from '../../bin/live-view.js'
import { clearBar, clearLine, createOutput, table } from '../../bin/output.js'
import { columnsOf } from '../../bin/text.js'

const stdout = Object.assign(new PassThrough(), { isTTY: true, columns: 80, rows: 24 })

describe('createOutput', () => {
  it('should offer a terminal where a person looks at one', () => {
    expect(createOutput({ stdout, env: { TERM: 'xterm' } }).terminal).toBe(stdout)
    expect(createOutput({ stdout, env: { TERM: 'xterm', NO_COLOR: '1' } }).terminal).toBe(stdout)
  })

  it.each([
    ['a dumb terminal', { stdout, env: { TERM: 'dumb' } }],
    ['CI', { stdout, env: { CI: '1' } }],
    ['a pipe', { stdout: new PassThrough(), env: {} }],
    ['--quiet', { stdout, env: {}, quiet: true }],
  ])('should offer none with %s', (_, options) => {
    expect(createOutput(options).terminal).toBeUndefined()
  })

  it.each([
    [{}, '\u001b[31mtext\u001b[0m'],
    [{ NO_COLOR: '' }, 'text'],
    [{ CI: '1' }, 'text'],
    [{ TERM: 'dumb' }, 'text'],
  ])('should colour with %o as %j', (env, shown) => {
    const screen = stream({ isTTY: true })
    const output = createOutput({ stdout: screen, env })
    output.print(output.color('red', 'text'))
    expect(screen.text()).toBe(`${shown}\n`)
  })

  it('should give programs data as it is, and people what is safe to look at', () => {
    const [pipe, screen] = [stream(), stream({ isTTY: true })]
    const text = 'a\u202eb\tc\u001b\n\n'
    createOutput({ stdout: pipe }).data(text)
    createOutput({ stdout: screen }).data(text)
    expect([pipe.text(), screen.text()]).toEqual([text, 'a\\u202eb\tc\\u001b\n'])
  })

  it('should never send what a name holds to the terminal', () => {
    const [out, err] = [stream({ isTTY: true }), stream()]
    const output = createOutput({ stdout: out, stderr: err, env: { TERM: 'xterm' } })
    const name = '\u001b]0;x\u0007\u009b2J\r\u001b[31mname'
    output.print(`${name}\nfake line`)
    output.json({ name })
    output.jsonLine({ name })
    output.note(`about ${name}`)
    output.error(`about ${name}\nfake line`)
    output.errorLines(`about ${name}\n  at a line of a stack`)
    output.print(table([name], [[`${name}\nfake row`]]))
    const written = out.text() + err.text()
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(written).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
    expect(out.text()).toContain('name\\u000afake line\n')
    expect(err.text()).toContain('[31mname fake line\n')
    expect(out.text()).toContain('name\\u000afake row\n')
  })
})

describe('progress', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  /** A person looks: stdout and stderr are one screen. */
  const watched = (columns = 80) => {
    const screen = stream({ isTTY: true, columns })
    return { screen, output: createOutput({ stdout: screen, stderr: screen, env: { TERM: 'xterm' } }) }
  }

  it.each(['error', 'note', 'print'] as const)('should get out of the way of %s()', (way) => {
    const { screen, output } = watched()
    const line = output.progress('loading base.gguf')
    line.update(0.4)
    output[way]('something else')
    expect(screen.lines()).toEqual(['something else', ''])
    vi.advanceTimersByTime(1000)
    expect(screen.lines()).toEqual([
      'something else',
      expect.stringMatching(/^loading base.gguf \[=+ +\] {2}40 %/),
    ])
    line.done()
    expect(screen.lines()).toEqual(['something else', ''])
  })

  it('should get out of the way of another output on the same stream, and of the end of the process', () => {
    const { screen, output } = watched()
    output.progress('loading').update(0.4)
    createOutput({ stdout: screen, stderr: screen, env: {} }).error('traitscope: interrupted')
    expect(screen.lines()).toEqual(['traitscope: interrupted', ''])
    output.progress('reading').update(0.4)
    clearBar(screen)
    expect(screen.lines().at(-1)).toBe('')
    screen.write('^C')
    clearLine(screen, { TERM: 'xterm' })
    expect(screen.lines().at(-1)).toBe('')
  })

  it('should leave nothing behind when the work fails', async () => {
    const { screen, output } = watched()
    const work = output.during('loading', async (update) => {
      update(0.4)
      throw new Error('no such file')
    })
    await expect(work).rejects.toThrow('no such file')
    vi.advanceTimersByTime(60_000)
    expect(screen.lines()).toEqual([''])
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([20, 30, 40, 60, 80, 120, 300])('should fit %i columns, and 80 at most', (columns) => {
    const labels = ['', 'reading', `loading ${'/very/long/path'.repeat(20)}/base.gguf`, '模型'.repeat(40)]
    for (const label of labels) {
      const { screen, output } = watched(columns)
      const line = output.progress(label, { unit: 'prompts', total: 2100 })
      const width = () => columnsOf(screen.lines().at(-1)!)
      vi.advanceTimersByTime(2000)
      expect(width()).toBeLessThan(Math.min(columns, 80))
      for (const fraction of [0, 0.03, 0.5, 1]) {
        vi.advanceTimersByTime(100_100)
        line.update(fraction)
        expect(width()).toBeLessThan(Math.min(columns, 80))
        expect(screen.lines().at(-1)).toContain(`${Math.round(100 * fraction)} %`)
      }
      line.done()
    }
  })

  it('should keep both ends of a long path, the bar and the time left in 80 columns', () => {
    const { screen, output } = watched()
    const line = output.progress(`loading ${'/very/long/path'.repeat(20)}/base.gguf`, {
      unit: 'MB',
      total: 9,
    })
    vi.advanceTimersByTime(100_100)
    line.update(0.5)
    expect(screen.lines().at(-1)).toMatch(/^loading \/.*….*base\.gguf \[=+ +\] {2}50 %.* {2}1 min 40 s left$/)
  })

  it('should say every ten seconds where it is without a terminal', () => {
    const err = stream()
    const output = createOutput({ stdout: stream(), stderr: err, env: {} })
    const line = output.progress('reading trait prompts')
    vi.advanceTimersByTime(10_000)
    line.update(0.25)
    vi.advanceTimersByTime(10_000)
    line.done()
    vi.advanceTimersByTime(60_000)
    expect(err.lines()).toEqual([
      'reading trait prompts',
      'reading trait prompts: 10 s so far',
      'reading trait prompts: 25 %, 20 s so far, 1 min 0 s left',
      '',
    ])
  })

  it('should say where it is ever more rarely, a minute apart at most', () => {
    const err = stream()
    const line = createOutput({ stdout: stream(), stderr: err, env: {} }).progress('labelling')
    const lines = (hours: number) => {
      const before = err.lines().length
      vi.advanceTimersByTime(3_600_000 * hours)
      return err.lines().length - before
    }
    expect(lines(0.1)).toBe(36)
    expect(lines(0.9)).toBeLessThan(160)
    expect(lines(9)).toBe(540)
    line.done()
    expect(lines(1)).toBe(0)
  })

  it('should say how many are done where they are counted', () => {
    const err = stream()
    const line = createOutput({ stderr: err, env: {} }).progress('reading runs', {
      announce: false,
      unit: 'runs',
    })
    vi.advanceTimersByTime(9_000)
    line.update(7 / 30, 30)
    vi.advanceTimersByTime(1_000)
    line.done()
    expect(err.text()).toMatch(/^reading runs: 23 %, 7 of 30 runs, 10 s so far/)
  })

  it('should say nothing of short work that is not worth a line, and nothing at all when quiet', () => {
    const err = stream()
    const short = createOutput({ stderr: err, env: {} }).progress('looking', { announce: false })
    vi.advanceTimersByTime(9_000)
    short.done()
    createOutput({ stderr: err, env: {}, quiet: true }).progress('reading')
    vi.advanceTimersByTime(60_000)
    expect(err.text()).toBe('')
  })
})

type Recorded = Terminal & {
  text(): string
  /** What a screen shows in the end, line by line. */
  lines(): string[]
}

function stream(options: { isTTY?: boolean; columns?: number } = {}): Recorded {
  const through = new PassThrough()
  let written = ''
  through.on('data', (chunk) => {
    written += String(chunk)
  })
  const text = () => {
    through.read()
    return written
  }
  const lines = () =>
    text()
      .split('\n')
      .map((line) => line.split('\r\u001b[2K').at(-1)!)
  return Object.assign(through, { isTTY: false, ...options, text, lines }) as Recorded
}
