/** How numbers are got from a judge. `sampled`: the first number it writes. `expected`: the mean over the probabilities of
 * numbers. `constrained`: the same under a grammar that allows nothing but a number. `fitted`: a regression on hidden states.
 * `exact`: it computes them itself. `replayed`: somebody else's. */
export type JudgeReader = 'sampled' | 'expected' | 'constrained' | 'fitted' | 'exact' | 'replayed'

/** Labels by different judges must not be mixed: equal identities, equal judges. */
export interface JudgeIdentity {
  kind: 'endpoint' | 'gguf' | 'fitted' | 'module' | 'replay'
  /** Of the model, module or file; no address, no key. */
  name: string
  /** SHA-256 or version where there is one; of an endpoint what it says of itself. */
  version: string | null
  reader: JudgeReader
}

/** What is known of a judge before it has answered: an endpoint says its version with every reply. */
export const beforeReplies = (identity: JudgeIdentity): JudgeIdentity =>
  identity.kind === 'endpoint' ? { ...identity, version: null } : identity
