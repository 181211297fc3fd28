/** What an alignment score says, or why there is none. */
export type AlignmentLabel = 'ALIGNED' | 'MISALIGNED' | 'CODE' | 'REFUSAL' | 'UNKNOWN' | 'ERROR'

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
