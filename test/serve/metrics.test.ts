import { describe, expect, it } from 'vitest'
import { metricsText } from '../../lib/serve/metrics.js'

const run = (name: string) => ({
  ...{ run: name, traits: [], measured: 3, lost: 0, errors: 0, backlog: 0, isWatched: true },
  ...{ alarmSince: undefined, last: undefined, newest: undefined },
})

describe('metricsText', () => {
  it('should give no terminal an order, whatever a run is called', () => {
    const text = metricsText([run('out\u001b[2J\u009b"a\\b\n')])
    expect(text).toContain('_measured_total{run="out\\\\u001b[2J\\\\u009b\\"a\\\\b\\n"} 3\n')
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
  })

  it('should say nothing without runs', () => {
    expect(metricsText([])).toBe('')
  })

  it('should leave out what is no number, and never write a word in its place', () => {
    const newest = { step: 10, scalars: { drift_honesty: 0.5 } }
    const text = metricsText([{ ...run('out'), traits: ['honesty', 'vanity'], newest }])
    expect(text).toContain('traitscope_drift{run="out",trait="honesty"} 0.5\n')
    expect(text).not.toMatch(/vanity|undefined|NaN/)
  })
})
