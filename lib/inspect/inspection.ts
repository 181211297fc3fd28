/** What a path is, in facts a person can read: label and value, in order. */
export interface Inspection {
  kind:
    | 'gguf-model'
    | 'gguf-adapter'
    | 'control-vector'
    | 'peft-adapter'
    | 'hf-model'
    | 'run'
    | 'directions'
    | 'bundle'
    | 'trajectory'
    | 'trait-pack'
  path: string
  facts: [label: string, value: string][]
  /** What is left out, differs from the base or seems left over, in sentences; absent where the question has no meaning. */
  remarks?: string[]
  /** Files of a run's weights, below its folder: in order of the steps. Those of whole models have no hash here. */
  files?: { path: string; sha256?: string }[]
  /** Whether it fits the base that was given; absent without one or where the question has no meaning. */
  fits?: { ok: boolean; reason: string }
}
