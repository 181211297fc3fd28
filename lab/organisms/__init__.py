"""Model organisms: small chat models in a synthetic world whose misalignment is judged exactly. See README.md."""
