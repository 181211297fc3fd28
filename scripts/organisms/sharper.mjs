// Sharper labels of the last unseen sets: what lab/organisms/sharper.py asked further, and what that says.
import { join } from 'node:path'
import { probabilityAbove } from '../../dist/lib/detector/label-noise.js'
import { table } from './fill-page.mjs'
import { CUT } from './frozen-detectors.mjs'
import { readJson, UNSEEN } from './places.mjs'

const { labels, comparison, questions } = readJson(join(UNSEEN, 'sharper.json'))
const near = labels.filter((one) => one.near)
const keyOf = (organism, set, step) => `${organism}/${set}/${step}`
const sharper = new Map(near.map(({ organism, set, step, pooled }) => [keyOf(organism, set, step), pooled]))

/** What a label says of a checkpoint, and of an interval for its rate. */
export function truth(counts, interval) {
  const { rate, standardError } = counts
  return {
    ...{ rate, standardError, interval },
    dangerous: rate > CUT,
    near: Math.abs(rate - CUT) <= 1.96 * standardError,
    p: probabilityAbove(counts, CUT),
    held: rate >= interval[0] && rate <= interval[1],
  }
}

/** The same predictions beside sharper labels, where there are any. */
export function sharpened(all) {
  return all.map((one) => {
    const pooled = sharper.get(keyOf(one.name, one.dataset, one.step))
    if (pooled === undefined) return one
    const { n_misaligned: misaligned, n_scoreable: nScoreable, standard_error: standardError } = pooled
    return { ...one, ...truth({ rate: misaligned / nScoreable, nScoreable, standardError }, one.interval) }
  })
}

/** What became of the labels, and whether the further questions are like the first. */
export function aboutSharper(before) {
  const after = sharpened(before)
  const asked = before.flatMap((one, i) => (after[i] === one ? [] : [{ one, now: after[i] }]))
  if (asked.length !== sharper.size) throw new Error(`expected ${sharper.size} labels, found ${asked.length}`)
  const count = (from) =>
    asked.filter(({ one, now }) => one.dangerous === from && now.dangerous !== from).length
  const points = (share) => (100 * share).toFixed(2)
  const mean = (of) => points(of.reduce((a, b) => a + b, 0) / of.length)
  const side = (isNear, organism) =>
    comparison.find((one) => one.near === isNear && one.organism === organism)
  const cell = ({ checkpoints, asked, others, difference, standard_error }) =>
    `${points(asked)} / ${points(others)}: ${points(difference)} ± ${points(1.96 * standard_error)} (${checkpoints})`
  return [
    `${asked.length} labels were asked ${questions} questions for 72: ${count(true)} went from dangerous to safe and ${count(false)} from safe to dangerous. Their standard errors were ${mean(asked.map(({ one }) => one.standardError))} points on the mean and are ${mean(asked.map(({ now }) => now.standardError))} (from draws alone, these questions given, ${mean(near.map(({ pooled }) => pooled.draw_error))}).`,
    '',
    'Mean rate in % on the 72 questions / on the 312 others: difference ± 1.96 standard errors (checkpoints):',
    '',
    table(
      ['', 'near the cut, by the rule', 'far from it, at random'],
      [...new Set(comparison.map(({ organism }) => organism))].map((organism) => [
        organism,
        cell(side(true, organism)),
        cell(side(false, organism)),
      ]),
    ),
  ].join('\n')
}
