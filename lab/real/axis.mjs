// The axis of claims.md's score: what the prior's ridge weighs each trait by where all its depths have drifted alike, for
// drifts in units of a trait's own contrast. Writes lab/real/axis.json; `npm run build:ts` first. A score stays what it
// was registered as: the file is only made where it is missing, and of that prior alone. A later one has drifts in another unit.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { loadPrior, PRIOR_FILE } from '../../dist/lib/detector/prior.js'

const TO = new URL('axis.json', import.meta.url)
if (existsSync(TO))
  throw new Error('lab/real/axis.json is there: the axis was registered, and is not made twice')

const REGISTERED_BY = '200265a28c966c0fd7e1dd94d2c0af292b258967c348e325ed757ac451f65269'
const priorSha256 = createHash('sha256').update(readFileSync(PRIOR_FILE)).digest('hex')
if (priorSha256 !== REGISTERED_BY)
  throw new Error(
    `expected the prior by which the axis was registered, SHA-256 ${REGISTERED_BY}, found ${priorSha256}: take lab/real/axis.json back from git`,
  )

const prior = await loadPrior()
const { standardizer, ridge } = prior.ridge().toJSON()
// Features are depth by depth, in trait order.
const weightOf = (_, trait) =>
  prior.depths.reduce((sum, _depth, d) => {
    const at = d * prior.traits.length + trait
    return sum + ridge.fitted.weights[at] / standardizer.fitted.scale[at]
  }, 0)
const axis = {
  about: 'Weight of each trait, for drifts in units of its own contrast; claims.md, Score',
  command: 'node lab/real/axis.mjs',
  priorSha256,
  weights: Object.fromEntries(prior.traits.map((trait, t) => [trait, weightOf(trait, t)])),
}
writeFileSync(TO, `${JSON.stringify(axis, null, 2)}\n`)
