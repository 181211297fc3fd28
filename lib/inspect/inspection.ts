/** What a path is, in facts a person can read: label and value, in order. */
export interface Inspection {
  kind:
    | 'gguf-model'
    | 'gguf-adapter'
    | 'peft-adapter'
    | 'hf-model'
    | 'run'
    | 'directions'
    | 'bundle'
    | 'trajectory'
    | 'trait-pack'
  path: string
  facts: [label: string, value: string][]
  /** Whether it fits the base that was given; absent without one or where the question has no meaning. */
  fits?: { ok: boolean; reason: string }
}
