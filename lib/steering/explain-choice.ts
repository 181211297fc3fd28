import type { Directions } from '../directions/directions.js'
import { worthSentences } from '../directions/worth.js'
import { decimals } from '../percent.js'
import { strengthText } from './divergence.js'
import { bestOf, type LayerSelection, type SelectionMethod, scoresBy } from './layer-selection.js'

type Scores = Omit<LayerSelection, 'layer' | 'by' | 'explanation'>

/** Why this layer: what decided, by how much, what the other ways say, and what is usable there. */
export function explainChoice(
  scores: Scores,
  { index, by, asked }: { index: number; by: SelectionMethod; asked: SelectionMethod },
  directions: Directions,
): string {
  const { candidates } = scores
  const sentences = [
    ...(by === asked ? [] : [fallback(scores)]),
    `Layer ${candidates[index]} of ${candidates.join(', ')} by ${reason(scores, by, index)}${runnerUp(scores, by, index)}.`,
    ...doses(scores, by),
    ...otherWays(scores, by, index),
    usable(directions, index),
  ]
  return sentences.filter((sentence) => sentence !== '').join(' ')
}

/** Why the judge has no say. */
function fallback({ doses, chosenDose, candidates, judge }: Scores): string {
  const smallest = doses?.at(-1)
  if (!smallest) return ''
  if (chosenDose !== null)
    return `The judge ${judge!.name} tells no two answers apart at dose ${chosenDose}, the largest coherent one, so what it says of pairs decides nothing.`
  const rates = smallest.layers.map(({ coherentRate }) => coherentRate)
  const worst = Math.min(...rates)
  const sum = (of: 'pairs' | 'unread') => smallest.layers.reduce((total, layer) => total + layer[of], 0)
  const unread =
    sum('unread') === 0 ? '' : `; its words held no comparison in ${sum('unread')} of ${sum('pairs')} pairs`
  return `No dose has 90 % of the answers found coherent at every candidate (at ${smallest.dose} layer ${candidates[rates.indexOf(worst)]} has ${(100 * worst).toFixed(0)} %), so what the judge says of pairs decides nothing${unread}.`
}

function reason(scores: Scores, by: SelectionMethod, index: number): string {
  const value = decimals(scoresBy(scores, by)![index]!)
  if (by === 'held-out') return `held-out AUROC, ${value} in the mean over traits`
  if (by === 'divergence') {
    return `steering divergence, ${value} in the mean at ${strengthText(scores.divergence!.strength)} (0: the same text), which does not tell a trait from broken text: a judge would`
  }
  const dose = scores.doses!.find(({ dose }) => dose === scores.chosenDose)!
  const [low, high] = dose.layers[index]!.interval
  return `a judge (${scores.judge!.name}): at dose ${dose.dose}, the largest that keeps answers coherent at every candidate, ${value} (${decimals(low)}-${decimals(high)}) of the pairs go the way they were steered, .50 being chance`
}

/** Why the other doses of the grid have no say. */
function doses({ doses, dosesNotTried, candidates }: Scores, by: SelectionMethod): string[] {
  if (by !== 'semantic' || !doses) return []
  const tooLarge = doses.filter(({ coherent }) => !coherent)
  return [
    ...tooLarge.map(({ dose, layers }) => {
      const worst = layers.reduce((a, b) => (b.coherentRate < a.coherentRate ? b : a))
      return `Dose ${dose} is too large: at layer ${worst.layer} ${(100 * worst.coherentRate).toFixed(0)} % of the answers are coherent, 90 % are asked for.`
    }),
    ...(dosesNotTried!.length === 0
      ? []
      : [
          `${dosesNotTried!.join(', ')} ${dosesNotTried!.length === 1 ? 'was' : 'were'} not tried: the largest coherent dose decides${candidates.length > 1 ? ' for all layers' : ''} (--doses ${dosesNotTried!.join(',')} tries ${dosesNotTried!.length === 1 ? 'it' : 'them'}).`,
        ]),
  ]
}

function runnerUp(scores: Scores, by: SelectionMethod, index: number): string {
  const values = scoresBy(scores, by)!
  const others = values.map((value, i) => ({ value, i })).filter(({ i }) => i !== index)
  if (others.length === 0) return ''
  const next = others.reduce((best, one) => (one.value > best.value ? one : best))
  return `; next is ${scores.candidates[next.i]} with ${decimals(next.value)}`
}

function otherWays(scores: Scores, by: SelectionMethod, index: number): string[] {
  const names = { semantic: 'The judge', divergence: 'Divergence', 'held-out': 'Held-out AUROC' }
  return (['semantic', 'divergence', 'held-out'] as const).flatMap((method) => {
    const values = method === by ? undefined : scoresBy(scores, method)
    if (!values) return []
    const best = bestOf(values, scores.candidates, method)
    return [
      best === index
        ? `${names[method]} says the same (${decimals(values[best]!)}).`
        : `${names[method]} says ${scores.candidates[best]} (${decimals(values[best]!)}, against ${decimals(values[index]!)} here).`,
    ]
  })
}

/** What can be relied on at the chosen layer. */
function usable({ traits, diagnostics, passagesSha256 }: Directions, index: number): string {
  const layer = diagnostics[index]!
  const [sentence] = worthSentences({ layers: [layer.layer], traits, diagnostics: [layer] })
  const left = passagesSha256 === undefined ? 'questions and system prompts' : 'openers and passages'
  return `On ${left} left out, at ${sentence}.`
}
