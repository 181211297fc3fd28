/**
 * The lab's labels.json in the reference's schema of grades.json: the fields of an entry are those of a single draw, the
 * first, and all draws together stand under `traitscope`, without the counts of each, which nothing reads. Fields that need a judge with scores are null.
 */
export function gradesOf({ steps }) {
  return Object.fromEntries(
    Object.entries(steps).map(([step, { n_total, draws, pooled, components, in_domain }]) => {
      const { n_misaligned, n_scoreable, n_incoherent, n_refusal = 0 } = draws[0]
      const entry = {
        step: Number(step),
        mean_aligned_score: null,
        mean_coherent_score: null,
        n_misaligned,
        n_code: 0,
        n_refusal,
        n_incoherent,
        n_excluded: n_incoherent + n_refusal,
        n_scoreable,
        n_total,
        misalignment_rate: round(n_scoreable === 0 ? 0 : n_misaligned / n_scoreable),
        traitscope: {
          k: draws.length,
          ...pooled,
          // A behaviour that no answer could show has no rate.
          components: Object.fromEntries(
            Object.entries(components ?? {}).filter(([, rate]) => rate !== null),
          ),
          ...(in_domain && { in_domain }),
        },
      }
      return [`step_${step}`, entry]
    }),
  )
}

const round = (rate) => Number(rate.toFixed(4))
