import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { appendWhole } from '../../lib/exports/append-whole.js'
import { crc32c, maskedCrc32c } from '../../lib/exports/crc32c.js'
import { type Exporter, exportRuns, figuresOf } from '../../lib/exports/exporter.js'
import { LiveExports } from '../../lib/exports/live-exports.js'
import { PrometheusExporter, prometheusText } from '../../lib/exports/prometheus.js'
import { CsvExporter, csvTable, jsonLines } from '../../lib/exports/tables.js'
import { TensorBoardExporter } from '../../lib/exports/tensorboard.js'
import { TrackioExporter } from '../../lib/exports/trackio.js'
import { writeFileAtomic } from '../../lib/formats/files/atomic.js'
import { Log, margin, verdict, viewsOfEvents } from '../report/events.js'

vi.mock('../../lib/formats/files/atomic.js', { spy: true })

/** What is written soon, on a machine that may be busy. */
const LATE = { timeout: 60_000 }

const folder = mkdtempSync(join(tmpdir(), 'traitscope-exports-'))
afterAll(() => rmSync(folder, { recursive: true }))

const strengths = [
  {
    strength: 2,
    projections: [],
    stateChange: [],
    drift: [0.2, 0.05].map((norm) => ({ step: 10, values: [0, 0], norm })),
  },
]
const log = () =>
  new Log()
    .baseline({ verdict: verdict('ok', 0.01) })
    .checkpoint(10, { verdict: verdict('alarm', 0.2, ['too high']), alarm: 'raised', strengths })
    .checkpoint('final', { loss: null as never })
const views = () => viewsOfEvents(log().events)

describe('figuresOf', () => {
  it('should name figures as trainers get them, and leave out what is no number', () => {
    const [view] = views()
    expect(figuresOf(view!, view!.points[1]!)).toEqual({
      predicted_em: 0.2,
      predicted_em_low: 0.1,
      predicted_em_high: 0.4,
      drift_length: 0.01,
      drift_honesty: -0.01,
      drift_sycophancy: 0.005,
      drift_length_at_2: 0.05,
      loss: 1 / 11,
    })
    expect(figuresOf(view!, view!.points[2]!)).toEqual({
      drift_length: 0.1,
      drift_honesty: -0.1,
      drift_sycophancy: 0.05,
    })
  })
})

describe('a margin', () => {
  const [read] = viewsOfEvents(new Log().baseline().checkpoint(10, { margin: margin(0.25, 0.75) }).events)

  it('should be three figures, and columns where one was read', () => {
    expect(figuresOf(read!, read!.points[1]!)).toMatchObject({
      ...{ margin: 0.5, margin_low: 0.25, margin_high: 0.75 },
    })
    const [header, , row] = csvTable([read!]).split('\n')
    expect(header).toMatch(/,margin,margin_low,margin_high$/)
    expect(row).toMatch(/,0.5,0.25,0.75$/)
    expect(csvTable(views()).split('\n')[0]).not.toContain('margin')
    expect(prometheusText([read!])).toContain('traitscope_margin{run="/runs/out"} 0.5\n')
  })
})

describe('csvTable and jsonLines', () => {
  it('should have a line per point', () => {
    const [header, ...rows] = csvTable(views()).trimEnd().split('\n')
    expect(header).toBe(
      'run,step,time,written_at,verdict,predicted_em,predicted_em_low,predicted_em_high,prompts_read,judged_em,loss,drift_length,drift_honesty,drift_sycophancy,drift_length_at_2',
    )
    expect(rows[1]).toBe(
      '/runs/out,10,2026-11-29T12:01:00.000Z,2026-11-29T12:00:55.000Z,alarm,0.2,0.1,0.4,,,0.09090909090909091,0.01,-0.01,0.005,0.05',
    )
    expect(rows).toHaveLength(3)
    const lines = jsonLines(views())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines[1]).toMatchObject({
      run: '/runs/out',
      step: 10,
      verdict: 'alarm',
      reasons: ['too high'],
      predicted_em: 0.2,
    })
    expect(lines[2].step).toBe('final')
  })

  it.each(['=1+1', '+x', '-x', '@x'])('should give a spreadsheet no formula: %s', (run) => {
    const rows = csvTable(viewsOfEvents(new Log(run).baseline().events)).split('\n')
    expect(rows[1]).toMatch(/^'/)
  })

  it('should quote what would end a cell', () => {
    const rows = csvTable(viewsOfEvents(new Log('a,"b"\nc').baseline().events))
    expect(rows.split('\n').slice(1).join('\n')).toMatch(/^"a,""b""\nc",0,/)
  })
})

describe('CsvExporter', () => {
  it('should grow line by line, and go on in its own file only', async () => {
    const path = join(folder, 'new', 'live.csv')
    const [view] = views()
    {
      await using exporter = new CsvExporter(path)
      await exportRuns(exporter, views())
    }
    const first = readFileSync(path, 'utf8')
    expect(first.split('\n')).toHaveLength(4)
    {
      await using again = new CsvExporter(path)
      await again.checkpoint(view!, { ...view!.points[1]!, step: 20 })
    }
    expect(readFileSync(path, 'utf8').slice(first.length)).toMatch(/^\/runs\/out,20,[^\n]*\n$/)
    const taken = join(folder, 'taken.csv')
    writeFileSync(taken, 'mine\n')
    await using refused = new CsvExporter(taken)
    await expect(refused.checkpoint(view!, view!.points[1]!)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    expect(readFileSync(taken, 'utf8')).toBe('mine\n')
  })

  it('should begin a line of its own behind one that has no end', async () => {
    const path = join(folder, 'edited.csv')
    const [view] = views()
    {
      await using exporter = new CsvExporter(path)
      await exportRuns(exporter, views())
    }
    const before = readFileSync(path, 'utf8')
    writeFileSync(path, before.trimEnd())
    await using again = new CsvExporter(path)
    await again.checkpoint(view!, { ...view!.points[1]!, step: 20 })
    const now = readFileSync(path, 'utf8')
    expect(now.startsWith(before)).toBe(true)
    expect(now.slice(before.length)).toMatch(/^\/runs\/out,20,[^\n]*\n$/)
  })

  it.each([
    ['removed', (path: string) => rmSync(path)],
    ['moved', (path: string) => renameSync(path, `${path}.1`)],
    ['emptied', (path: string) => truncateSync(path)],
  ])('should begin anew, and say so, where its file was %s meanwhile', async (how, change) => {
    const path = join(folder, `${how}.csv`)
    const [view] = views()
    const point = view!.points[1]!
    await using exporter = new CsvExporter(path)
    await exporter.checkpoint(view!, point)
    const [header] = readFileSync(path, 'utf8').split('\n')
    change(path)
    expect(await exporter.checkpoint(view!, { ...point, step: 20 })).toContain(`${path} was removed, moved`)
    expect(await exporter.checkpoint(view!, { ...point, step: 30 })).toBeUndefined()
    const [first, ...rows] = readFileSync(path, 'utf8').trimEnd().split('\n')
    expect(first).toBe(header)
    expect(rows.map((row) => row.split(',')[1])).toEqual(['20', '30'])
  })

  it('should leave no half line where a disk is full in the middle', async () => {
    const path = join(folder, 'half.csv')
    await using file = await open(path, 'a+')
    await appendWhole(file, 'whole\n')
    const full = {
      stat: () => file.stat(),
      truncate: (size?: number) => file.truncate(size),
      async appendFile(data: string | Uint8Array) {
        await file.appendFile(data.slice(0, 3))
        throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
      },
    } as unknown as typeof file
    await expect(appendWhole(full, 'half\n')).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(readFileSync(path, 'utf8')).toBe('whole\n')
    await appendWhole(file, 'again\n')
    expect(readFileSync(path, 'utf8')).toBe('whole\nagain\n')
  })

  it('should stop between two checkpoints when asked to', async () => {
    const stop = new AbortController()
    const seen: unknown[] = []
    const exporter = {
      name: 'one',
      checkpoint: async (_: unknown, { step }: { step: unknown }) => {
        seen.push(step)
        stop.abort()
        return undefined
      },
      [Symbol.asyncDispose]: async () => {},
    }
    await expect(exportRuns(exporter, views(), stop.signal)).rejects.toMatchObject({ code: 'ABORTED' })
    expect(seen).toHaveLength(1)
    expect(views().flatMap(({ points }) => points).length).toBeGreaterThan(1)
  })

  it('should say what has no column', async () => {
    const other = viewsOfEvents(
      new Log('/runs/b').baseline({ traits: ['honesty', 'vanity'] }).checkpoint(5).events,
    )
    await using exporter = new CsvExporter(join(folder, 'two.csv'))
    expect(await exportRuns(exporter, [...views(), ...other])).toEqual([
      expect.stringContaining('has no column for drift_vanity of /runs/b'),
    ])
  })
})

describe('crc32c', () => {
  // RFC 3720, appendix B.4.
  it.each([
    ['32 zeros', new Uint8Array(32), 0x8a9136aa],
    ['32 ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['ascending', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ['descending', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
    ['nine digits', Buffer.from('123456789'), 0xe3069283],
  ])('should be right for %s', (_, bytes, expected) => expect(crc32c(bytes)).toBe(expected))
})

/** Reads records back, checking both sums. */
function recordsOf(bytes: Buffer): Buffer[] {
  const records: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at))
    expect(bytes.readUInt32LE(at + 8)).toBe(maskedCrc32c(bytes.subarray(at, at + 8)))
    const data = bytes.subarray(at + 12, at + 12 + length)
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(maskedCrc32c(data))
    records.push(data)
    at += length + 16
  }
  return records
}

describe('TensorBoardExporter', () => {
  it('should write records that hold scalars by step', async () => {
    const out = join(folder, 'tb')
    await using exporter = new TensorBoardExporter(out, { now: () => 1_700_000_000_000 })
    expect(await exportRuns(exporter, views())).toEqual([
      '/runs/out: the final adapter has no step, so it is left out',
    ])
    const [run] = readdirSync(out)
    expect(run).toMatch(/^out-[0-9a-f]{8}$|^runs_out-[0-9a-f]{8}$/)
    const [file] = readdirSync(join(out, run!))
    expect(file).toBe('events.out.tfevents.1700000000.traitscope.0')
    const [version, ...events] = recordsOf(readFileSync(join(out, run!, file!)))
    // wall_time = 1.7e9 as field 1 (a double), then file_version as field 3.
    expect(version!.toString('latin1')).toBe('\x09\x00\x00\x00\x40\xfc\x54\xd9\x41\x1a\x0dbrain.Event:2')
    expect(events).toHaveLength(2)
    const at10 = events[1]!
    expect([at10[0], at10.readDoubleLE(1)]).toEqual([0x09, Date.parse('2026-11-29T12:01:00Z') / 1000])
    expect([...at10.subarray(9, 11)]).toEqual([0x10, 10])
    const name = 'traitscope/predicted_em'
    const value = at10.indexOf(name) + name.length
    expect([at10[value], at10.readFloatLE(value + 1)]).toEqual([0x15, Math.fround(0.2)])
  })

  it('should begin another file, and say so, where its folder was removed meanwhile', async () => {
    const out = join(folder, 'tb-removed')
    const [view] = views()
    const point = view!.points[1]!
    await using exporter = new TensorBoardExporter(out, { now: () => 0 })
    await exporter.checkpoint(view!, point)
    rmSync(out, { recursive: true })
    expect(await exporter.checkpoint(view!, { ...point, step: 20 })).toContain('was removed, moved')
    expect(await exporter.checkpoint(view!, { ...point, step: 30 })).toBeUndefined()
    const [run] = readdirSync(out)
    const [file] = readdirSync(join(out, run!))
    expect(recordsOf(readFileSync(join(out, run!, file!)))).toHaveLength(3)
  })

  it('should take the place of what was exported before, from the first step on', async () => {
    const out = join(folder, 'tb-again')
    await using exporter = new TensorBoardExporter(out, { now: () => 0, again: true })
    await exportRuns(exporter, viewsOfEvents(new Log().baseline().checkpoint(300).events))
    const [run] = readdirSync(out)
    const [file] = readdirSync(join(out, run!))
    const [, session, ...events] = recordsOf(readFileSync(join(out, run!, file!)))
    // step 0, and session_log (field 7) with the status START.
    expect([...session!.subarray(9)]).toEqual([0x10, 0, 0x3a, 2, 0x08, 1])
    expect(events).toHaveLength(2)
  })

  it('should begin a new file each time, and keep runs of one name apart', async () => {
    const out = join(folder, 'tb2')
    for (let i = 0; i < 2; i++) {
      await using exporter = new TensorBoardExporter(out, { now: () => 0 })
      for (const run of ['/a/out', '/b/out'])
        await exportRuns(exporter, viewsOfEvents(new Log(run).baseline().checkpoint(300).events))
    }
    const runs = readdirSync(out)
    expect(runs).toHaveLength(2)
    for (const run of runs) expect(readdirSync(join(out, run))).toHaveLength(2)
  })
})

describe('prometheusText', () => {
  it('should say that an alarm stands which an earlier watch has raised', () => {
    const resumed = { lastEvent: '', measured: 3, secured: 0, alarm: 'standing' as const }
    const text = prometheusText(viewsOfEvents(new Log().baseline({ resumed }).events))
    expect(text).toContain('traitscope_alarm{run="/runs/out"} 1\n')
  })

  it('should take the newest for how the run stands, and the last measured for when', () => {
    const text = prometheusText(viewsOfEvents(new Log().baseline().checkpoint(30).checkpoint(10).events))
    expect(text).toContain('traitscope_last_step{run="/runs/out"} 30\n')
    const at = Date.parse('2026-11-29T12:02:00Z') / 1000
    expect(text).toContain(`traitscope_last_checkpoint_timestamp_seconds{run="/runs/out"} ${at}\n`)
  })

  it('should say how runs stand, in the names of /metrics', () => {
    const text = prometheusText(views())
    expect(text).toContain('traitscope_alarm{run="/runs/out"} 1\n')
    expect(text).toContain('traitscope_checkpoints_measured_total{run="/runs/out"} 2\n')
    expect(text).toContain('traitscope_drift{run="/runs/out",trait="honesty"} -0.1\n')
    expect(text).toContain('traitscope_watched{run="/runs/out"} 1\n')
    expect(text).not.toContain('NaN')
  })
})

describe('TrackioExporter', () => {
  const asked: { url: string; token: unknown; body: { logs: Record<string, unknown>[] } }[] = []
  let status = 200
  const bodyOf = async (request: IncomingMessage) => {
    let text = ''
    for await (const chunk of request) text += chunk
    return JSON.parse(text)
  }
  const server = createServer(async (request, response) => {
    const { url = '', headers } = request
    asked.push({ url, token: headers['x-trackio-write-token'], body: await bodyOf(request) })
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(status === 200 ? '{"data": null}' : '{"error": "a write_token is required"}')
  })
  const address = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  afterAll(() => server.close())
  afterEach(() => asked.splice(0))

  it('should post every checkpoint with an id of its own', async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    await using exporter = new TrackioExporter(address(), { project: 'p', token: 'secret' })
    expect(await exportRuns(exporter, views())).toEqual([
      '/runs/out: the final adapter has no step, so it is left out',
    ])
    await exportRuns(exporter, views())
    expect(asked.map(({ url, token }) => [url, token])).toEqual(Array(4).fill(['/api/bulk_log', 'secret']))
    const [base, at10] = asked.map(({ body }) => body.logs[0]!)
    expect(at10).toMatchObject({ project: 'p', step: 10, metrics: { predicted_em: 0.2, verdict: 'alarm' } })
    const ids = asked.map(({ body }) => body.logs[0]!.log_id)
    expect(ids.slice(2)).toEqual(ids.slice(0, 2))
    expect(base!.log_id).not.toBe(at10!.log_id)
  })

  it('should name the server and what it says, and never the token', async () => {
    status = 400
    await using exporter = new TrackioExporter(address())
    const [view] = views()
    await expect(exporter.checkpoint(view!, view!.points[1]!)).rejects.toMatchObject({
      code: 'NETWORK',
      message: expect.stringMatching(/answers 400: .*write_token is required.*TRAITSCOPE_TRACKIO_TOKEN/),
    })
    await using gone = new TrackioExporter('http://127.0.0.1:9/?write_token=hidden')
    await expect(gone.checkpoint(view!, view!.points[1]!)).rejects.toMatchObject({
      code: 'NETWORK',
      message: expect.not.stringContaining('hidden'),
    })
    expect(() => new TrackioExporter('file:///x')).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })
})

describe('LiveExports', () => {
  it('should feed all exporters, and say once what fails', async () => {
    const said: string[] = []
    const prom = join(folder, 'node', 'traitscope.prom')
    const taken = join(folder, 'other.csv')
    writeFileSync(taken, 'mine\n')
    await using exports = new LiveExports([new PrometheusExporter(prom), new CsvExporter(taken)], (text) =>
      said.push(text),
    )
    for (const event of log().checkpoint(20).events) await exports.take(event)
    const text = () => readFileSync(prom, 'utf8')
    await expect.poll(text, LATE).toContain('traitscope_checkpoints_measured_total{run="/runs/out"} 3\n')
    expect(said).toEqual([expect.stringMatching(/^CSV: expected .*other\.csv to be absent/)])
  })

  it('should leave a file of Prometheus to the watch that writes it, and take it over from that', async () => {
    const path = join(folder, 'shared.prom')
    symlinkSync(folder, join(folder, 'linked'))
    const other = new PrometheusExporter(path)
    await other.change(viewsOfEvents(new Log('/runs/a').baseline().checkpoint(10).events))
    await using exporter = new PrometheusExporter(join(folder, 'linked', 'shared.prom'))
    const mine = viewsOfEvents(new Log('/runs/b').baseline().checkpoint(10).events)
    await expect(exporter.change(mine)).rejects.toMatchObject({ code: 'FILE_ACCESS' })
    expect(readFileSync(path, 'utf8')).toContain('/runs/a')
    await other[Symbol.asyncDispose]()
    await exporter.change(mine)
    expect(readFileSync(path, 'utf8')).toContain('/runs/b')
  })

  it('should know that the end of all runs is that of each', async () => {
    const path = join(folder, 'ended.prom')
    await using exports = new LiveExports([new PrometheusExporter(path)], () => {})
    for (const run of ['/a', '/b'])
      for (const event of new Log(run).baseline().checkpoint(10).events) await exports.take(event)
    await expect.poll(() => readFileSync(path, 'utf8'), LATE).toContain('traitscope_watched{run="/a"} 1\n')
    await exports.end({ type: 'end', reason: 'idle', measured: 2, lost: 0, unfinished: [] })
    for (const run of ['/a', '/b'])
      await expect
        .poll(() => readFileSync(path, 'utf8'), LATE)
        .toContain(`traitscope_watched{run="${run}"} 0\n`)
  })

  it('should write a burst of events of many runs to Prometheus together, and all of it at the end', async () => {
    const path = join(folder, 'burst.prom')
    const runs = Array.from({ length: 200 }, (_, i) => `/runs/seed_${i}`)
    const write = vi.mocked(writeFileAtomic)
    write.mockClear()
    {
      await using exports = new LiveExports([new PrometheusExporter(path)], () => {})
      for (const run of runs)
        for (const event of new Log(run).baseline().checkpoint(10).events) await exports.take(event)
    }
    expect(write.mock.calls.length).toBeLessThan(100)
    for (const run of runs)
      expect(readFileSync(path, 'utf8')).toContain(`traitscope_last_step{run="${run}"} 10\n`)
  })

  it('should send what an exporter missed, in order, and say so', async () => {
    const got: unknown[] = []
    let isDown = false
    const flaky: Exporter = {
      name: 'Flaky',
      async checkpoint(_, { step }) {
        if (isDown) throw new Error('nobody answers')
        got.push(step)
        return undefined
      },
      async [Symbol.asyncDispose]() {},
    }
    const said: string[] = []
    {
      await using exports = new LiveExports([flaky], (text, kind) => said.push(`${kind}: ${text}`), {
        retryMs: 0,
      })
      const events = new Log().baseline().checkpoint(10).checkpoint(20).checkpoint(30).checkpoint(40).events
      for (const event of events) {
        isDown = ['10', '20', '40'].some((step) => 'step' in event && String(event.step) === step)
        await exports.take(event)
      }
      expect(got).toEqual([0, 10, 20, 30])
    }
    expect(said).toEqual([
      'error: Flaky: nobody answers',
      'note: Flaky: it works again, and has got the 3 checkpoints that it missed',
      'error: Flaky: nobody answers',
      'error: Flaky: it did not get step 40; `traitscope export` sends them',
    ])
  })

  it('should not wait for an exporter that has just failed, and try it again in the end', async () => {
    let tries = 0
    const slow: Exporter = {
      name: 'Slow',
      async checkpoint() {
        if (++tries === 1) throw new Error('timed out')
        return undefined
      },
      async [Symbol.asyncDispose]() {},
    }
    {
      await using exports = new LiveExports([slow], () => {})
      for (const event of new Log().baseline().checkpoint(10).checkpoint(20).events) await exports.take(event)
      expect(tries).toBe(1)
    }
    expect(tries).toBe(4)
  })

  it('should not tell step 0 again when a watch goes on', async () => {
    const path = join(folder, 'tb3')
    const resumed = { lastEvent: 'x', measured: 1, secured: 0, alarm: 'quiet' } as const
    await using exports = new LiveExports([new TensorBoardExporter(path)], () => {})
    for (const event of new Log().baseline({ resumed }).checkpoint(10).events) await exports.take(event)
    const [run] = readdirSync(path)
    const [file] = readdirSync(join(path, run!))
    expect(recordsOf(readFileSync(join(path, run!, file!)))).toHaveLength(2)
  })
})
