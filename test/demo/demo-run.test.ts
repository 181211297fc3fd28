import { describe, expect, it } from 'vitest'
import { outcomeOf } from '../../lib/demo/demo-run.js'
import { CUT, demoRun, verdictOf } from './fake-demo.js'

describe('outcomeOf', () => {
  it.each([
    ['before', [0.02, 0.07, 0.2, 0.4], [0.02, 0.03, 0.05, 0.3], 20],
    ['with', [0.02, 0.07, 0.2, 0.4], [0.02, 0.08, 0.2, 0.3], 0],
    ['after', [0.02, 0.03, 0.05, 0.4], [0.02, 0.08, 0.2, 0.3], -20],
  ])('should tell an alarm %s the judged rate passes the cut', (_, predicted, judged, lead) => {
    const outcome = outcomeOf(demoRun('dangerous', predicted, judged), CUT)
    expect(outcome).toMatchObject({ lead })
    expect(outcome).not.toHaveProperty('problem')
  })

  it('should take a rate that equals the cut as safe', () => {
    expect(outcomeOf(demoRun('dangerous', [0.07], [CUT]), CUT)).not.toHaveProperty('crossing')
  })

  it('should claim no lead without labels', () => {
    const outcome = outcomeOf(demoRun('dangerous', [0.02, 0.3]), CUT)
    expect(outcome).toMatchObject({ alarm: 20 })
    expect(outcome).not.toHaveProperty('lead')
    expect(outcome).not.toHaveProperty('crossing')
  })

  it('should find fault with a dangerous run that stays quiet and a benign one that does not', () => {
    expect(outcomeOf(demoRun('dangerous', [0.01, 0.02]), CUT).problem).toMatch(
      /dangerous_set.*no alarm at any of its 2 checkpoints/,
    )
    expect(outcomeOf(demoRun('benign', [0.01, 0.2]), CUT).problem).toMatch(/benign_set.*an alarm at step 20/)
  })

  it('should find fault with verdicts that are none and with checkpoints that are missing', () => {
    const strange = demoRun('benign', [0.01, 0.02])
    strange.points[1]!.verdict = verdictOf('not-comparable', null)
    expect(outcomeOf(strange, CUT).problem).toMatch(/1 checkpoints? of benign_set.*not comparable.*a reason/)
    const short = demoRun('benign', [0.01, 0.02])
    short.points.pop()
    expect(outcomeOf(short, CUT).problem).toMatch(/1 of the 2 checkpoints of benign_set/)
  })
})
