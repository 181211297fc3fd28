// What the product says of a measured run without a bundle, by the prior that ships now:
//   node lab/real/verdicts.mjs DIRECTIONS TRAJECTORY > verdicts.json
// `measure` writes the same beside the trajectory; this is for runs that were measured before.
import {
  loadDirections,
  loadPrior,
  readTrajectory,
  trajectoryPrior,
  trajectoryVerdicts,
} from '../../dist/lib/index.js'

const [directions, path] = process.argv.slice(2)
const trajectory = await readTrajectory(path)
const by = trajectoryPrior(await loadPrior(), await loadDirections(directions), trajectory)
process.stdout.write(`${JSON.stringify(trajectoryVerdicts(by, trajectory), null, 1)}\n`)
