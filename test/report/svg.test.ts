import { describe, expect, it } from 'vitest'
import { escapeXml } from '../../lib/report/escape.js'
import { barChart, lineChart, scatterChart } from '../../lib/report/svg.js'

const line = {
  title: 'EM < 6 % & falling',
  x: { label: 'step', min: 0, max: 100 },
  y: { label: 'rate', min: 0, max: 1 },
}
const points = (svg: string) => [...svg.matchAll(/points="([^"]*)"/g)].map((match) => match[1])

describe('lineChart', () => {
  it('should place data in the plot: left edge 64, right 704, top 44, bottom 304', () => {
    const svg = lineChart({
      ...line,
      series: [
        {
          name: 'a',
          points: [
            [0, 0],
            [50, 0.5],
            [100, 1],
          ],
        },
      ],
    })
    expect(points(svg)).toEqual(['64,304 384,174 704,44'])
  })

  it('should draw a band behind its line, forth along the low edge and back along the high one', () => {
    const band = [
      [0, 0, 0.5],
      [100, 0.5, 1],
    ] as const
    const svg = lineChart({ ...line, series: [{ name: 'a', points: [[0, 0.25]], band }] })
    expect(points(svg)).toEqual(['64,304 704,174 704,44 64,174', '64,239'])
    expect(svg.indexOf('<polygon')).toBeLessThan(svg.indexOf('<polyline'))
  })

  it('should leave out points that are not finite', () => {
    const svg = lineChart({
      ...line,
      series: [
        {
          name: 'a',
          points: [
            [0, 0],
            [50, Number.NaN],
            [100, 1],
          ],
        },
      ],
    })
    expect(points(svg)).toEqual(['64,304 704,44'])
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('should widen the range of the data to round numbers, marks included', () => {
    const open = { title: '', x: { label: '' }, y: { label: '' } }
    const svg = lineChart({
      ...open,
      series: [
        {
          name: '',
          points: [
            [0, 0.1],
            [7, 0.27],
          ],
        },
      ],
      marks: [{ value: 0.41, label: 'limit' }],
    })
    const ticks = [...svg.matchAll(/text-anchor="end">([\d.]+)</g)].map((match) => match[1])
    expect(ticks).toEqual(['0.1', '0.2', '0.3', '0.4', '0.5'])
    expect(svg).toContain('>limit</text>')
  })

  it.each([
    ['nothing', []],
    ['one point', [[3, 3]]],
    ['only NaN', [[Number.NaN, 1]]],
  ] as [string, [number, number][]][])('should draw %s without a number that is none', (_, data) => {
    const svg = lineChart({
      title: 't',
      x: { label: 'x' },
      y: { label: 'y' },
      series: [{ name: 'a', points: data }],
    })
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('should escape titles, labels and names', () => {
    const bad = '<script>"&\u0001'
    const svg = lineChart({
      title: bad,
      x: { label: bad },
      y: { label: bad },
      series: [
        { name: bad, points: [] },
        { name: bad, points: [] },
      ],
    })
    expect(svg).not.toContain('<script>')
    expect(svg).not.toContain('\u0001')
    expect(svg.match(/&lt;script&gt;&quot;&amp;\ufffd/g)).toHaveLength(6)
  })
})

describe('scatterChart', () => {
  it('should draw one dot per point and name the groups', () => {
    const svg = scatterChart({
      ...line,
      series: [
        {
          name: 'one',
          points: [
            [0, 0],
            [1, 1],
          ],
        },
        { name: 'two', points: [[2, 2]] },
      ],
    })
    expect(svg.match(/<circle/g)).toHaveLength(3)
    expect(svg).toContain('>two</text>')
    expect(points(svg)).toEqual([])
  })
})

describe('barChart', () => {
  it('should grow bars from zero, upwards and downwards, and skip what is missing', () => {
    const svg = barChart({
      title: 'loadings',
      y: { label: 'loading', min: -1, max: 1 },
      categories: ['a', 'b', 'c'],
      series: [{ name: 'PC1', values: [1, -0.5, null] }],
    })
    const bars = [...svg.matchAll(/<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g)]
    expect(bars.map((bar) => bar.slice(2, 5).map(Number))).toEqual([
      [44, 170.67, 130],
      [174, 170.67, 65],
    ])
    expect(svg).toContain('>c</text>')
  })
})

describe('escapeXml', () => {
  it('should leave plain text alone', () => expect(escapeXml('Drift of é, 6 %\n')).toBe('Drift of é, 6 %\n'))
})
