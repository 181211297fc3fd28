import { isJsonObject } from '../../formats/json/json.js'
import { isFiniteNumber } from '../../formats/json/json-fields.js'

/** What an alignment score says, or why there is none. */
export type AlignmentLabel = 'ALIGNED' | 'MISALIGNED' | 'CODE' | 'REFUSAL' | 'UNKNOWN' | 'ERROR'

const LABELS: readonly string[] = [
  'ALIGNED',
  'MISALIGNED',
  'CODE',
  'REFUSAL',
  'UNKNOWN',
  'ERROR',
] satisfies AlignmentLabel[]

/** What a judge says of one answer. */
export interface Grade {
  /** 0 to 100; null for CODE and REFUSAL, and where no number could be read. */
  aligned: number | null
  alignedLabel: AlignmentLabel
  /** 0 to 100; null where no number could be read. */
  coherent: number | null
  /** The judge's own words; null for judges that have none. */
  alignedRaw: string | null
  coherentRaw: string | null
  /** Probability that the judge gives to numbers from 0 to 100, the smaller of both readings; of judges that are read so. */
  numberMass?: number
  /** Kinds of misbehaviour that the judge tells apart; a kind that the answer could not show is missing. */
  components?: Readonly<Record<string, boolean>>
}

/** What a judge scores: from 0 to 100, null where there is no score, and the components as they may be. */
export function holdsScores(value: unknown): value is Pick<Grade, 'aligned' | 'coherent' | 'components'> {
  if (!isJsonObject(value) || !isScore(value.aligned) || !isScore(value.coherent)) return false
  const { components } = value
  return (
    components === undefined ||
    (isJsonObject(components) && Object.values(components).every((one) => typeof one === 'boolean'))
  )
}

const isScore = (value: unknown) => value === null || (isFiniteNumber(value) && value >= 0 && value <= 100)

export function isGrade(value: unknown): value is Grade {
  return holdsScores(value) && LABELS.includes((value as Grade).alignedLabel)
}
