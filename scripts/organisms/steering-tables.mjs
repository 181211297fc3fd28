import { join } from 'node:path'
import { inPercent } from '../../dist/lib/percent.js'
import { table } from './fill-page.mjs'
import { ORGANISMS, readJson } from './places.mjs'

/** A share with its standard error, in percent. */
const withError = (count, of) =>
  of === 0
    ? '-'
    : `${inPercent(count / of)} ± ${(100 * Math.sqrt(((count / of) * (1 - count / of)) / of)).toFixed(1)}`
const fixed = (value) => (value === null ? '-' : value.toFixed(2))

/** `{ name: markdown }` of what steering.mjs found. */
export function steeringBlocks() {
  const organisms = readJson(join(ORGANISMS, 'judge/steering.json'))
  return { steering: steering(organisms), 'layer choice': layerChoice(organisms) }
}

function steering(organisms) {
  const head = [
    'organism',
    'block',
    'trait',
    'dose',
    'coherent, %',
    'showing the positive pole, %',
    'misaligned, %',
  ]
  return table(
    head,
    organisms.flatMap(({ name, layer, steered }) =>
      steered
        .toSorted((a, b) => a.trait.localeCompare(b.trait) || a.dose - b.dose)
        .map((arm) => [
          name,
          layer,
          arm.trait,
          arm.dose,
          inPercent(arm.coherent / arm.answers),
          withError(arm.positive, arm.showing),
          withError(arm.misaligned, arm.coherent),
        ]),
    ),
  )
}

function layerChoice(organisms) {
  const head = [
    'organism',
    'block',
    'held-out AUROC',
    'divergence',
    'judged (95 % interval)',
    'coherent, %',
    'calibration: balanced error alone',
    'AUROC alone',
    'chosen by',
  ]
  return table(
    head,
    organisms.flatMap(({ name, layer, layers, calibration }) =>
      layers.map((one) => {
        const alone = calibration.alone.find((other) => other.layer === one.layer)
        const chosen = [
          ...(one.layer === layer ? ['auto'] : []),
          ...(calibration.layers.includes(one.layer) ? [`calibration (${calibration.model})`] : []),
        ]
        return [
          name,
          one.layer,
          fixed(one.heldOut),
          fixed(one.divergence),
          one.judged === null ? '-' : `${fixed(one.judged)} (${one.interval.map(fixed).join('-')})`,
          one.coherent === null ? '-' : (100 * one.coherent).toFixed(0),
          alone.balancedError.toFixed(3),
          alone.auroc === null ? '-' : alone.auroc.toFixed(3),
          chosen.join(', ') || '-',
        ]
      }),
    ),
  )
}
